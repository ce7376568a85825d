"""A bucket of a store that is not quite Amazon's: what it is asked, and what becomes of what it says."""

from collections.abc import Coroutine, Iterator
from typing import Any, cast

import pytest
from twisted.logger import capturedLogs, formatEvent

from cachew.plumbing.bucket import Bucket
from cachew.plumbing.errors import Conflict, StorageRefused, StorageUnavailable
from tests.fakes.hostilestore import Answer, Asked, HostileStore, hostile_store, refusal, tag_of
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import result_of


@pytest.fixture(scope="module")
def running() -> Iterator[HostileStore]:
    """Run a store."""
    with hostile_store() as store:
        yield store


@pytest.fixture
def store(running: HostileStore) -> HostileStore:
    """Return a store that is empty and does as Amazon's."""
    running.objects.clear()
    running.asked.clear()
    running.quirk = lambda asked: None
    return running


@pytest.fixture
def bucket(store: HostileStore) -> Bucket:
    """Return its bucket, below a prefix."""
    return Bucket(
        store=store.store(prefix="pre"),
        plain=store.store(prefix="pre", checksums=False),
        threads=cast(Any, InlineThreads()),
    )


def answering(answer: Answer, command: str = "") -> Any:
    """Return the quirk of answering so, whatever is asked or with what method."""
    return lambda asked: answer if asked.command == (command or asked.command) else None


def failure_of(work: Coroutine[Any, Any, Any], kind: type[Exception]) -> Exception:
    """Return what work has failed with."""
    with pytest.raises(kind) as failed:
        result_of(work)
    return failed.value


@pytest.mark.parametrize(
    ("answer", "log", "brief"),
    [
        (refusal(403, "RequestTimeTooSkewed", "The difference is too large."), "too large.", "RequestTimeTooSkewed"),
        (refusal(400, "ExpiredToken"), "ExpiredToken: because it is so", "ExpiredToken"),
        (refusal(503, "SlowDown", "Reduce your &lt;rate&gt;"), "SlowDown: Reduce your <rate>", "SlowDown"),
        (refusal(403, "SignatureDoesNotMatch"), "SignatureDoesNotMatch", "SignatureDoesNotMatch"),
        ((301, refusal(301, "PermanentRedirect")[1], {}), "incorrectly configured region", "configured region"),
        ((502, b"<html>\n<h1>Bad Gateway</h1></html>", {}), "502 Bad Gateway", "(502)"),
    ],
)
def test_a_failure_is_told_in_the_stores_own_words(
    store: HostileStore, bucket: Bucket, answer: Answer, log: str, brief: str
) -> None:
    """All of them in one line of the log, and what it is in short to whom the failure is told."""
    store.quirk = answering(answer)
    with capturedLogs() as events:
        failure = failure_of(bucket.get("x"), StorageUnavailable)
    (line,) = [formatEvent(event) for event in events]
    assert log in line and "\n" not in line and "xml" not in line and "html" not in line
    assert brief in str(failure) and "127.0.0.1" not in str(failure)


def test_a_store_that_knows_no_checksums_is_sent_none(store: HostileStore, bucket: Bucket) -> None:
    """What it has refused for them is sent once more without, and so is everything after it."""

    def quirk(asked: Asked) -> Answer | None:
        unknown = next((name for name in asked.headers if name.lower().startswith("x-amz-checksum")), None)
        return None if unknown is None else refusal(400, "InvalidArgument", f"Unsupported header '{unknown}' received.")

    store.quirk = quirk
    assert result_of(bucket.put("x", b"1")) == tag_of(b"1")
    assert result_of(bucket.put_if("x", b"2", tag_of(b"1"))) == tag_of(b"2")
    assert len(store.asked) == 3 and store.objects == {"pre/x": b"2"}


def test_an_upload_that_was_damaged_on_its_way_says_nothing_of_the_store(store: HostileStore, bucket: Bucket) -> None:
    """It has compared the checksum: it fails this once, and what comes after it has one all the same."""
    words = "The provided 'x-amz-checksum' header does not match what was computed."
    store.quirk = answering(refusal(400, "XAmzContentChecksumMismatch", words))
    failure_of(bucket.put("x", b"1"), StorageUnavailable)
    told: list[str] = []
    store.quirk = lambda asked: told.extend(map(str.lower, asked.headers))
    result_of(bucket.put("x", b"1"))
    assert "x-amz-checksum-sha256" in told


@pytest.mark.parametrize("name", ["if-match", "x-amz-checksum", "x-amz-trailer"])
def test_an_objects_name_says_nothing_of_the_store(store: HostileStore, bucket: Bucket, name: str) -> None:
    """What is stored is in the address that a failure tells of, and may be called as a header is."""
    store.quirk = answering(refusal(400, "RequestTimeout", "Your connection was not read from or written to."))
    failure_of(bucket.put_if(f"manifests/{name}/x", b"1", None), StorageUnavailable)
    told: list[str] = []
    store.quirk = lambda asked: told.extend(map(str.lower, asked.headers))
    result_of(bucket.put_if(f"manifests/{name}/x", b"1", None))
    assert {"if-none-match", "x-amz-checksum-sha256"} <= set(told)


@pytest.mark.parametrize("version", [None, tag_of(b"old")])
@pytest.mark.parametrize(
    "answer", [refusal(501, "NotImplemented"), refusal(400, "InvalidArgument", "If-Match, If-None-Match: unknown")]
)
def test_a_store_that_takes_no_conditions(
    store: HostileStore, bucket: Bucket, version: str | None, answer: Answer
) -> None:
    """It is looked what is there before; the log says once what that means for replicas."""

    def quirk(asked: Asked) -> Answer | None:
        return answer if {"if-match", "if-none-match"} & {name.lower() for name in asked.headers} else None

    store.quirk = quirk
    if version is not None:
        store.objects["pre/x"] = b"old"
    with capturedLogs() as events:
        assert result_of(bucket.put_if("x", b"new", version)) == tag_of(b"new")
        failure_of(bucket.put_if("x", b"newer", version), Conflict)
    assert [formatEvent(event)[:40] for event in events if event["log_level"].name == "error"] == [
        "the object store refuses the conditions "[:40]
    ]
    assert store.objects == {"pre/x": b"new"}


def test_weakened_entity_tags_serve_as_versions(store: HostileStore, bucket: Bucket) -> None:
    """What compresses between the store and us makes them weak, and a weak one never fulfils a condition."""
    store.objects["pre/x"] = b"old"
    store.quirk = lambda asked: (200, b"old", {"ETag": "W/" + tag_of(b"old")}) if asked.command == "GET" else None
    found = result_of(bucket.get("x"))
    assert found is not None
    assert result_of(bucket.put_if("x", b"new", found[1])) == tag_of(b"new")


def test_what_cannot_be_a_small_object_is_given_without_content(store: HostileStore, bucket: Bucket) -> None:
    """A huge one is not read, an archived one can't be; both can be replaced."""
    store.objects |= {"pre/huge": bytes(9 * 1024 * 1024), "pre/archived": b"old"}
    store.quirk = lambda asked: (
        refusal(403, "InvalidObjectState") if (asked.command, asked.key) == ("GET", "pre/archived") else None
    )
    for name in ("huge", "archived"):
        found = result_of(bucket.get(name))
        assert found is not None and found[0] == b""
        result_of(bucket.put_if(name, b"new", found[1]))
        assert store.objects[f"pre/{name}"] == b"new"


def test_ranges_of_a_store_that_knows_none(store: HostileStore, bucket: Bucket) -> None:
    """They are cut out of the whole."""
    data = bytes(range(256)) * 40_000
    store.quirk = lambda asked: (200, data, {"ETag": tag_of(data)})
    for start, end in ((0, 5), (3_000_000, 4_500_000), (len(data) - 7, len(data)), (len(data) - 7, len(data) + 7)):
        assert bytes(result_of(bucket.call(bucket.read_range, "x", start, end))) == data[start:end]


def test_ranges_that_are_not_there(store: HostileStore, bucket: Bucket) -> None:
    """Nothing of an object that was cut short is no failure of the store, and one in an archive is not there."""
    store.objects["pre/x"] = b"0123"
    assert bytes(result_of(bucket.call(bucket.read_range, "x", 2, 9))) == b"23"
    assert bytes(result_of(bucket.call(bucket.read_range, "x", 5, 9))) == b""
    store.quirk = answering(refusal(403, "InvalidObjectState"))
    failure_of(bucket.call(bucket.read_range, "x", 0, 4), FileNotFoundError)


@pytest.mark.parametrize(
    "answer",
    [
        refusal(403, "AccessDenied"),
        refusal(405, "MethodNotAllowed"),
        refusal(403, "QuotaExceeded"),
        refusal(400, "XMinioAdminBucketQuotaExceeded"),
        refusal(507, "XMinioStorageFull"),
        refusal(403, "AccessDenied", "Cannot upload files, storage cap exceeded."),
    ],
)
def test_a_store_that_is_there_to_be_read(store: HostileStore, bucket: Bucket, answer: Answer) -> None:
    """What it doesn't let be stored, removed or listed tells nothing of what is read."""
    store.objects["pre/x"] = b"there"
    store.quirk = lambda asked: None if asked.command == "GET" and asked.key else answer
    for work in (bucket.put("y", b"1"), bucket.put_if("y", b"1", None), bucket.delete("x"), bucket.listing("y")):
        failure_of(work, StorageRefused)
    assert result_of(bucket.get("x")) == (b"there", tag_of(b"there"))


@pytest.mark.parametrize("name", ["pre/m//x", "pre/m/./x", "pre/m/a\x01"])
def test_a_name_that_cannot_be_listed(store: HostileStore, bucket: Bucket, name: str) -> None:
    """Somebody else's, in the midst of ours: it is told which, and what is read is read on."""
    store.objects |= {name: b"theirs", "pre/m/y": b"ours"}
    assert "contained empty" in str(refused := failure_of(bucket.listing("m"), StorageRefused)) or "illegal" in str(
        refused
    )
    assert result_of(bucket.get("m/y")) == (b"ours", tag_of(b"ours"))


def test_objects_are_removed_one_by_one(store: HostileStore, bucket: Bucket) -> None:
    """Not all stores know the request for many."""
    store.objects["pre/x"] = b"there"
    result_of(bucket.delete("x"))
    assert store.objects == {} and [asked[0] for asked in store.asked] == ["DELETE"]


def test_a_listing_that_goes_round_ends(store: HostileStore, bucket: Bucket) -> None:
    """Stores have given the same page for ever."""
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken>"
        b"<Contents><Key>pre/m/x</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>1</Size></Contents>"
        b"</ListBucketResult>"
    )
    store.quirk = answering((200, page, {}))
    with capturedLogs() as events:
        failure_of(bucket.listing("m"), StorageUnavailable)
    assert "again and again" in formatEvent(events[0])


def test_listings_without_entity_tags(store: HostileStore, bucket: Bucket) -> None:
    """When an object was changed tells its versions apart then."""
    page = (
        b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>pre/m/x</Key>"
        b"<LastModified>2026-01-0%d:00:00.000Z</LastModified><Size>1</Size></Contents></ListBucketResult>"
    )
    versions = set()
    for day in (1, 2):
        store.quirk = answering((200, page.replace(b"%d", b"%dT00" % day), {}))
        versions |= {listed.version for listed in result_of(bucket.listing("m"))}
    assert len(versions) == 2


def test_the_environment_does_not_mix_with_the_config(store: HostileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token or an endpoint in somebody's shell belongs to other keys."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-shell")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    bucket = Bucket(store=store.store(), threads=cast(Any, InlineThreads()))
    assert result_of(bucket.get("x")) is None
    assert "x-amz-security-token" not in {name.lower() for name in store.asked[0][2]}


@pytest.mark.parametrize("host", ["localhost", "bucket.localhost"])
def test_a_bucket_that_is_part_of_the_host_name(store: HostileStore, host: str) -> None:
    """It is put there, unless the endpoint has it already."""
    endpoint = store.url.replace("127.0.0.1", host) + "/"
    bucket = Bucket(store=store.store(endpoint=endpoint, path_style=False), threads=cast(Any, InlineThreads()))
    address = result_of(bucket.presigned("x/y", 60.0))
    assert address.startswith(f"{store.url.replace('127.0.0.1', 'bucket.localhost')}/x/y?")
