"""Downloads: ranges pinned to one tag, resumed, started over, checked."""

import os
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cachew.client.clienterrors import DownloadCorrupt, NotCached, ObjectChanged, ServerRefused, ServerUnreachable
from cachew.client.download import StreamedDownload, is_number
from cachew.client.http import refusal
from cachew.client.ranges import TAIL, RangedDownload
from tests.fakes.cachew_server import Stored
from tests.fakes.client_parts import Parts

PIECE = 16 * 1024
BODY = os.urandom(PIECE * 10 + 123)


def fetch(parts: Parts, path: str = "/x") -> bytes:
    """Download an object whole."""
    return b"".join(map(bytes, parts.downloads.open(parts.server.url + path).pieces()))


def ranges(parts: Parts) -> list[str]:
    """Return which ranges were asked for."""
    return [get.headers["Range"] for get in parts.server.requests("GET")]


def test_asks_a_near_server_once(parts: Parts) -> None:
    """All parts of an object with a tag come with one answer, pinned to the tag and authorized."""
    parts.downloads.connections = 1
    parts.server.objects["/x"] = stored = Stored(BODY)
    assert fetch(parts) == BODY
    assert ranges(parts) == [f"bytes=0-{len(BODY) - 1}"]
    assert {get.headers["If-Match"] for get in parts.server.requests("GET")} == {stored.tag}
    assert {seen.headers["Authorization"] for seen in parts.server.seen} == {"Bearer secret"}
    assert parts.progress.count == len(BODY)


def test_goes_on_where_the_one_answer_broke_off(parts: Parts) -> None:
    """All that is missing is asked for again, in the midst of a part or at its end."""
    parts.downloads.connections = 1
    parts.server.objects["/x"] = Stored(BODY, cuts=[PIECE + 7, PIECE - 7])
    assert fetch(parts) == BODY
    assert ranges(parts) == [f"bytes={start}-{len(BODY) - 1}" for start in (0, PIECE + 7, 2 * PIECE)]


def test_a_server_may_send_all_for_a_range_of_all(parts: Parts) -> None:
    """It answers as if no range had been named; when that breaks off, what is missing is asked for as ever."""
    parts.downloads.connections = 1
    parts.server.objects["/x"] = Stored(BODY, is_sent_whole=True, cuts=[PIECE + 7])
    assert fetch(parts) == BODY
    assert ranges(parts) == [f"bytes={start}-{len(BODY) - 1}" for start in (0, PIECE + 7)]


def test_what_is_asked_ahead_is_not_asked_again(parts: Parts) -> None:
    """An archive that is opened ahead has its end and begins to come before anybody reads."""
    parts.downloads.connections = 1
    parts.server.objects["/x"] = Stored(BODY)
    parts.downloads.open_ahead(parts.server.url + "/x")
    download = parts.downloads.open(parts.server.url + "/x")
    assert isinstance(download, RangedDownload)
    assert ranges(parts) == [f"bytes={len(BODY) - TAIL}-{len(BODY) - 1}", f"bytes=0-{len(BODY) - 1}"]
    assert download.tail(100) == BODY[-100:]
    assert b"".join(map(bytes, download.pieces())) == BODY
    assert len(parts.server.seen) == 3
    assert fetch(parts) == BODY
    assert len(parts.server.seen) == 5


def test_what_fails_ahead_fails_when_it_is_wanted(parts: Parts) -> None:
    """A refusal is told to whoever opens; that the content does not come yet, to nobody as long as it comes then."""
    parts.downloads.open_ahead(parts.server.url + "/x")
    with pytest.raises(NotCached, match="nothing here"):
        fetch(parts)
    parts.server.objects["/y"] = Stored(BODY, statuses=[None, 503])
    parts.downloads.open_ahead(parts.server.url + "/y")
    assert fetch(parts, "/y") == BODY
    parts.server.objects["/z"] = Stored(BODY, generating=True)
    parts.downloads.open_ahead(parts.server.url + "/z")
    assert fetch(parts, "/z") == BODY


def test_uses_more_connections_when_it_has_to_wait(parts: Parts) -> None:
    """A server that is far away is asked for each part alone, over more connections than the one of a near one."""
    together = threading.Barrier(3)
    parts.server.objects["/x"] = stored = Stored(BODY, before=lambda count: together.wait(10) if count <= 3 else None)
    assert fetch(parts) == BODY
    assert sorted(int(one[6:].split("-")[0]) for one in ranges(parts)) == list(range(0, len(BODY), PIECE))
    assert {get.headers["If-Match"] for get in parts.server.requests("GET")} == {stored.tag}
    assert parts.progress.count == len(BODY)


def test_keeps_few_pieces_in_memory(parts: Parts) -> None:
    """A reader that does not read stops the download after a few pieces."""
    parts.server.objects["/x"] = stored = Stored(BODY)
    pieces = parts.downloads.open(parts.server.url + "/x").pieces()
    next(pieces)
    pieces.close()
    assert stored.gets <= 4 + 2 + 1


def test_resumes_pieces_where_they_broke(parts: Parts) -> None:
    """A piece that breaks off is asked for again from where it broke."""
    parts.server.objects["/x"] = Stored(BODY[:PIECE], cuts=[5000, 6000, 1])
    assert fetch(parts) == BODY[:PIECE]
    assert ranges(parts) == ["bytes=0-16383", "bytes=5000-16383", "bytes=11000-16383", "bytes=11001-16383"]


def test_survives_many_cuts_that_make_progress(parts: Parts) -> None:
    """Breaks between which something arrives do not end the download."""
    parts.server.objects["/x"] = Stored(BODY, cuts=[1000] * 40)
    assert fetch(parts) == BODY


def test_retries_a_busy_server(parts: Parts) -> None:
    """A 503 is tried again, after a pause."""
    parts.server.objects["/x"] = Stored(BODY[:PIECE], statuses=[503, 503])
    assert fetch(parts) == BODY[:PIECE]
    assert len(parts.pauses) == 2


def test_a_server_is_asked_again_when_it_wants_to_be(parts: Parts) -> None:
    """Whatever is asked for, in seconds or by a date, and the user is told what is waited for."""
    parts.server.objects["/x"] = Stored(BODY[:PIECE])
    date = {"Date": "Wed, 21 Oct 2026 07:28:00 GMT", "Retry-After": "Wed, 21 Oct 2026 07:28:45 GMT"}
    parts.server.refusals["/x"] = [(429, {"Retry-After": "30"}), (503, date)]
    assert parts.downloads.open(parts.server.url + "/x").headers["Content-Length"] == str(PIECE)
    assert fetch(parts) == BODY[:PIECE]
    assert [pause for pause in parts.pauses if pause > 5] == [30.0, 45.0]
    assert [said for said in parts.progress.said if "asked again in" in said] == [
        "The server is busy; it is asked again in 30 seconds",
        "The server is busy; it is asked again in 45 seconds",
    ]


@pytest.mark.parametrize("before", [0, 1])
def test_a_server_that_wants_to_be_left_alone_for_long_is(parts: Parts, before: int) -> None:
    """It is not asked again, whether the object or a part of it was asked for, and the user is told when to come."""
    parts.server.objects["/x"] = Stored(BODY[:PIECE])
    download = parts.downloads.open(parts.server.url + "/x") if before else None
    parts.server.refusals["/x"] = [(429, {"Retry-After": "900"})] * 9
    with pytest.raises(ServerRefused, match="429") as caught:
        fetch(parts) if download is None else list(download.pieces())
    assert caught.value.advice == "Try again in 900 seconds."
    assert len(parts.server.seen) == before + 1 and parts.pauses == []


def test_gives_up_on_a_broken_server(parts: Parts) -> None:
    """A server that goes on failing ends the download."""
    parts.server.objects["/x"] = Stored(BODY, cuts=[0] * 99)
    with pytest.raises(ServerUnreachable):
        fetch(parts)


def test_adopts_what_is_said_with_the_content(parts: Parts) -> None:
    """Headers of cachew that come with the content count, though HEAD did not have them."""
    parts.server.objects["/x"] = Stored(BODY, late_headers={"X-Cachew-Bundle-Url": "/b"})
    download = parts.downloads.open(parts.server.url + "/x")
    assert b"".join(map(bytes, download.pieces())) == BODY
    assert download.headers.get("X-Cachew-Bundle-Url") == "/b"
    assert download.headers.get("Content-Length") == str(len(BODY))


def test_says_when_the_object_changes(parts: Parts) -> None:
    """An object that is replaced meanwhile ends the download with the wish to start over."""

    def replace(count: int) -> None:
        if count == 2:
            parts.server.objects["/x"].body = BODY[::-1]

    parts.server.objects["/x"] = Stored(BODY, before=replace, cuts=[PIECE])
    with pytest.raises(ObjectChanged):
        fetch(parts)


def test_reads_an_object_that_is_being_generated(parts: Parts) -> None:
    """An object without length and tag is read as one stream."""
    parts.server.objects["/x"] = stored = Stored(BODY, generating=True)
    assert isinstance(parts.downloads.open(parts.server.url + "/x"), StreamedDownload)
    assert fetch(parts) == BODY
    assert stored.gets == 2


def test_a_broken_stream_has_to_start_over(parts: Parts) -> None:
    """A stream that breaks off is noticed."""
    parts.server.objects["/x"] = Stored(BODY, generating=True, cuts=[PIECE])
    with pytest.raises(ObjectChanged):
        fetch(parts)


def test_reads_weakly_tagged_objects_as_a_stream(parts: Parts) -> None:
    """A weak tag pins nothing, so the object comes in one request."""
    parts.server.objects["/x"] = Stored(BODY, headers={"ETag": 'W/"1"'})
    assert fetch(parts) == BODY
    assert len(parts.server.requests("GET")) == 1


@pytest.mark.parametrize("generating", [False, True])
def test_checks_the_digest(parts: Parts, generating: bool) -> None:
    """Content that has not the digest that the tag says is refused at its end."""
    headers = {"ETag": f'"{"0" * 64}"'} if generating else {}
    parts.server.objects["/x"] = Stored(BODY, etag="0" * 64, headers=headers, generating=generating)
    with pytest.raises(DownloadCorrupt):
        fetch(parts)


def test_takes_other_tags_as_they_are(parts: Parts) -> None:
    """A tag that is no digest pins ranges and is compared with nothing."""
    parts.server.objects["/x"] = Stored(BODY, etag="version-7")
    assert isinstance(parts.downloads.open(parts.server.url + "/x"), RangedDownload)
    assert fetch(parts) == BODY


def test_empty_objects(parts: Parts) -> None:
    """An empty object is no error."""
    parts.server.objects["/x"] = Stored(b"")
    assert fetch(parts) == b""


def test_words_refusals(parts: Parts) -> None:
    """Refusals carry the server's words and advice."""
    with pytest.raises(NotCached, match="nothing here"):
        fetch(parts)
    parts.server.objects["/x"] = Stored(b"", generating=True, statuses=[401])
    with pytest.raises(ServerRefused) as caught:
        fetch(parts)
    assert "--authorization" in caught.value.advice


@pytest.mark.parametrize(
    ("status", "words", "advice"),
    [
        (403, "the namespace git is cachew's own", "Choose another namespace."),
        (
            502,
            "answered 401 and this server has no credential for it; see [[credentials]] in its config",
            "Whoever runs",
        ),
        (502, "did not answer", "Try again in a moment."),
        (403, "a rule of this server forbids this", "Give credentials"),
    ],
)
def test_advice_fits_the_refusal(status: int, words: str, advice: str) -> None:
    """What can be done depends on why, not on the status alone."""
    answer = cast(Any, SimpleNamespace(status=status, reason="", read=lambda size: words.encode(), headers={}))
    assert refusal(answer, "http://h/x").advice.startswith(advice)


def test_words_an_unreachable_server(parts: Parts) -> None:
    """A server that does not answer is named, with advice, after a few tries."""
    with pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1:\d+: Connection refused") as caught:
        parts.downloads.open("http://127.0.0.1:1/x")
    assert "--url" in caught.value.advice
    assert len(parts.pauses) == 2


def test_the_credential_stays_on_the_server(parts: Parts) -> None:
    """A URL elsewhere gets no authorization."""
    assert parts.http.is_own(parts.server.url + "/x")
    assert not parts.http.is_own("http://127.0.0.1:1/x")


def test_a_partial_answer_that_ends_early_in_order(parts: Parts) -> None:
    """What is missing is asked for again, as after a cut; without a byte between them four tries are the end."""
    parts.server.objects["/x"] = Stored(BODY[:PIECE], short=[5000, 0, 6000])
    assert fetch(parts) == BODY[:PIECE]
    assert ranges(parts) == ["bytes=0-16383", "bytes=5000-16383", "bytes=5000-16383", "bytes=11000-16383"]
    parts.server.objects["/y"] = Stored(BODY[:PIECE], short=[0] * 40)
    with pytest.raises(ServerUnreachable, match="16384 bytes less than it announced"):
        fetch(parts, "/y")


@pytest.mark.parametrize("length", ["\xb2", "1" * 30, "-1", "x"])
def test_lengths_that_are_none(length: str) -> None:
    """What is no length is not taken for one."""
    assert not is_number(length)
