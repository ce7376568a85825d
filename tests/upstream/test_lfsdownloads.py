"""The server's own downloads of LFS objects go no other way than what clients have passed on."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.identity import Identity
from cachew.plumbing.errors import CorruptObject, UpstreamBusy, UpstreamRedirected, UpstreamUnreachable
from cachew.plumbing.streams import Source, read_all
from cachew.upstream.authenticatedposts import AuthenticatedPosts
from cachew.upstream.client import UpstreamClient
from cachew.upstream.hosts import Hosts
from cachew.upstream.lfsbatch import MEDIA_TYPE, WantedObject
from cachew.upstream.lfsdownloads import LfsDownloads
from cachew.upstream.remotes import Remotes
from cachew.upstream.spellings import Spellings
from tests.fakes.clock import FakeClock
from tests.fakes.settled import failure_of, value_of
from tests.fakes.spellings import spellings as nothing_known
from tests.upstream.conftest import Upstream
from tests.upstream.test_remotes import Own

IDENTITY = Identity("git.example", "org/repo")
HOME = "https://git.example/org/repo"
BATCH = "git.example/org/repo.git/info/lfs/objects/batch"
CONTENT = {WantedObject(hashlib.sha256(data).hexdigest(), len(data)): data for data in (b"one", b"two")}
ONE, TWO = CONTENT


@pytest.fixture
def spellings(clock: FakeClock) -> Spellings:
    """Return what nothing is known of yet."""
    return nothing_known(clock)


class Downloading:
    """Downloads from the scripted upstream, and keeps what comes."""

    def __init__(self, upstream: Upstream, client: UpstreamClient, hosts: Hosts) -> None:
        self.upstream, self.own, self.kept = upstream, Own(), dict[WantedObject, bytes]()
        remotes = Remotes(url_for=hosts.url_for, client=client, credentials=cast(Any, self.own))
        self._downloads = LfsDownloads(
            client=client,
            remotes=remotes,
            posts=AuthenticatedPosts(client=client, credentials=cast(Any, self.own)),
            clock=FakeClock(),
        )

    def allow(self, *wanted: WantedObject, **said: Any) -> None:
        """Answer a batch request."""
        actions = {"download": {"href": f"{HOME}.git/info/lfs/storage/x", **said}}
        objects = [{"oid": one.oid, "size": one.size, "actions": actions} for one in wanted]
        self.upstream.say(200, json.dumps({"objects": objects}).encode(), **{"Content-Type": MEDIA_TYPE})

    def fetch(self, *wanted: WantedObject) -> Deferred[None]:
        """Download objects."""

        async def keep(one: WantedObject, source: Source) -> None:
            self.kept[one] = await read_all(source, 100)

        return Deferred.fromCoroutine(self._downloads.fetch(IDENTITY, wanted, keep))

    @property
    def seen(self) -> list[tuple[str, str | None]]:
        """Where was asked, and what was shown."""
        return [(one.url, one.headers.get("authorization")) for one in self.upstream.seen]


def failed(deferred: Deferred[None], kind: type[Exception]) -> BaseException:
    """Return what a download has failed with, which is of a kind."""
    failure = failure_of(deferred)
    assert isinstance(failure, kind)
    return failure


@pytest.fixture
def downloading(upstream: Upstream, client: UpstreamClient, hosts: Hosts) -> Downloading:
    """Return what downloads."""
    return Downloading(upstream, client, hosts)


def test_it_asks_as_git_does(downloading: Downloading, upstream: Upstream) -> None:
    """Objects are asked for together, each request bears this server's name, what the storage wants to see is shown."""
    downloading.allow(ONE, TWO, header={"Authorization": "RemoteAuth x"})
    for data in CONTENT.values():
        upstream.say(200, data)
    value_of(downloading.fetch(ONE, TWO))
    assert downloading.kept == CONTENT
    storage = "git.example/org/repo.git/info/lfs/storage/x"
    assert downloading.seen == [(BATCH, "Basic own"), *[(storage, "RemoteAuth x")] * 2]
    assert {one.headers["user-agent"] for one in upstream.seen} == {"git/2.39.5 cachew/1.0"}
    asked = json.loads(upstream.seen[0].body)
    assert asked["objects"] == [{"oid": one.oid, "size": one.size} for one in CONTENT]


@pytest.mark.parametrize("first", [404, 405, 301])
def test_the_spelling_is_found_out(downloading: Downloading, upstream: Upstream, first: int) -> None:
    """An upstream that knows one spelling alone is asked in it, and in no other the next time."""
    headers = {"Location": f"{HOME}/info/lfs/objects/batch"} if first == 301 else {}
    upstream.say(first, b"", **headers)
    for _ in range(2):
        downloading.allow(ONE)
        upstream.say(200, b"one")
        value_of(downloading.fetch(ONE))
    asked = [url for url, _ in downloading.seen if url.endswith("batch")]
    assert asked == [BATCH, BATCH.replace(".git/", "/"), BATCH.replace(".git/", "/")]


def test_a_redirect_within_the_upstream_is_followed(downloading: Downloading, upstream: Upstream) -> None:
    """The server's own credential goes along where the storage has named none."""
    downloading.allow(ONE)
    upstream.say(302, Location=f"{HOME}.git/info/lfs/elsewhere")
    upstream.say(200, b"one")
    value_of(downloading.fetch(ONE))
    assert downloading.seen[1:] == [
        ("git.example/org/repo.git/info/lfs/storage/x", "Basic own"),
        ("git.example/org/repo.git/info/lfs/elsewhere", "Basic own"),
    ]


PLACES = [
    "https://other.example/org/repo/x",
    "http://plain.example/x",
    "http://git.example/org/repo.git/info/lfs/x",
    "http://169.254.169.254/latest/meta-data",
    "https://10.0.0.1/x",
    "https://localhost/x",
    "https://user:pass@storage.somewhere.com/x",
    "file:///etc/passwd",
]


def test_a_redirect_is_relative_to_where_it_comes_from(downloading: Downloading, upstream: Upstream) -> None:
    """What is no place by itself is one there, and nowhere else."""
    downloading.allow(ONE, href="not a place")
    failed(downloading.fetch(ONE), UpstreamUnreachable)
    downloading.allow(ONE)
    upstream.say(302, Location="not a place")
    upstream.say(200, b"one")
    value_of(downloading.fetch(ONE))
    assert downloading.seen[-1][0] == "git.example/org/repo.git/info/lfs/storage/not%20a%20place"


@pytest.mark.parametrize("place", PLACES)
def test_places_that_are_not_asked(downloading: Downloading, upstream: Upstream, place: str) -> None:
    """Neither by name nor by a redirect does an upstream lead to a place that no client's download could lead to."""
    downloading.allow(ONE, href=place)
    failed(downloading.fetch(ONE), UpstreamUnreachable)
    assert [url for url, _ in downloading.seen] == [BATCH]
    downloading.allow(ONE)
    upstream.say(302, Location=place)
    failed(downloading.fetch(ONE), UpstreamUnreachable)
    assert len(downloading.seen) == 3 and downloading.kept == {}


def test_a_storage_elsewhere_is_shown_nothing_of_ours(downloading: Downloading, upstream: Upstream) -> None:
    """Neither directly nor by a redirect."""
    downloading.allow(ONE, href="https://storage.somewhere.com/x")
    upstream.say(200, b"one")
    downloading.allow(TWO)
    upstream.say(302, Location="https://storage.somewhere.com/y")
    upstream.say(200, b"two")
    value_of(downloading.fetch(ONE))
    value_of(downloading.fetch(TWO))
    assert [shown for url, shown in downloading.seen if url.startswith("storage.")] == [None, None]


def test_a_batch_that_is_redirected_is_not_followed(downloading: Downloading, upstream: Upstream) -> None:
    """The credential stays where it was shown."""
    for _ in range(2):
        upstream.say(307, Location="https://other.example/org/repo.git/info/lfs/objects/batch")
    upstream.say(200)
    failed(downloading.fetch(ONE), UpstreamRedirected)
    assert {url.partition("/")[0] for url, _ in downloading.seen} == {"git.example"}


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_credential_that_is_refused_is_renewed_once(
    downloading: Downloading, upstream: Upstream, status: int
) -> None:
    """A revoked token costs one request; a second refusal is told as the upstream's, not as a client's."""
    downloading.own.next = "Basic next"
    for _ in range(2 if status == 404 else 1):
        upstream.say(status)
    downloading.allow(ONE)
    upstream.say(200, b"one")
    value_of(downloading.fetch(ONE))
    assert downloading.seen[-1][1] == "Basic next"
    for _ in range(4):
        upstream.say(status)
    error = failed(downloading.fetch(TWO), UpstreamUnreachable)
    assert f"answered {status} to this server's own download" in str(error)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"objects": []}, UpstreamUnreachable),
        ({"objects": [{"oid": ONE.oid, "size": ONE.size, "error": {"code": 404}}]}, UpstreamUnreachable),
        ({"transfer": "multipart", "objects": [{"oid": ONE.oid, "size": 3}]}, UpstreamUnreachable),
        ([], UpstreamUnreachable),
        (429, UpstreamBusy),
        (503, UpstreamBusy),
        (422, UpstreamUnreachable),
    ],
)
def test_batches_that_give_nothing(
    downloading: Downloading, upstream: Upstream, answer: int | Mapping[str, object], expected: type[Exception]
) -> None:
    """What an upstream doesn't allow is not asked for, and its trouble is told as such."""
    if isinstance(answer, int):
        upstream.say(answer)
    else:
        upstream.say(200, json.dumps(answer).encode(), **{"Content-Type": MEDIA_TYPE})
    failed(downloading.fetch(ONE), expected)
    assert len(downloading.seen) == 1


@pytest.mark.parametrize("data", [b"", b"on", b"onE", b"one and more"])
def test_objects_that_are_not_what_they_should_be(downloading: Downloading, upstream: Upstream, data: bytes) -> None:
    """The one is refused, and the others are given up with it."""
    downloading.allow(ONE, TWO)
    upstream.say(200, data)
    upstream.script.append(None)
    failed(downloading.fetch(ONE, TWO), CorruptObject)
    assert downloading.kept == {}
