"""Ref checks and forwarded requests against an upstream in memory."""

import gzip
import zlib
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import DNSLookupError

from cachew.plumbing.errors import UpstreamBusy, UpstreamRefused, UpstreamTimeout, UpstreamUnreachable
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.pktline import FLUSH, decode, encode, encode_all
from cachew.plumbing.streams import BytesSource, read_all
from cachew.upstream.agent import Agents
from cachew.upstream.backoff import Backoff
from cachew.upstream.client import UpstreamClient
from cachew.upstream.hosts import Hosts
from cachew.upstream.listing import Capabilities
from cachew.upstream.redirects import Redirects
from cachew.upstream.remoteref import RemoteRef
from tests.fakes.clock import FakeClock
from tests.fakes.parsing import head_target
from tests.fakes.settled import failure_of
from tests.fakes.spellings import spelled_as_asked

URL = "https://git.example/org/repo"
A, B = "a" * 40, "b" * 40
T = TypeVar("T")


def result_of(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine has come to without waiting."""
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    assert results, "still waiting"
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]  # type: ignore[no-any-return]


def names(listing: Any) -> list[str]:
    return [ref.name for ref in listing.refs]


# ref checks


def test_v2_discovery(upstream: Any, client: UpstreamClient) -> None:
    """An unknown upstream is asked what it speaks, then for its refs, with git's own headers and the credential."""
    upstream.v2()
    upstream.refs(f"{A} HEAD symref-target:refs/heads/main", f"{A} refs/heads/main", f"{B} refs/pull/1/head")
    listing, known = result_of(client.list_refs(URL, prefixes=("HEAD", "refs/heads/"), authorization="Basic abc"))
    assert names(listing) == ["HEAD", "refs/heads/main"]
    assert (known.protocol, known.base_url) == (2, URL)
    get, post = upstream.seen
    assert (get.method, get.url) == ("GET", "git.example/org/repo/info/refs?service=git-upload-pack")
    assert (post.method, post.url) == ("POST", "git.example/org/repo/git-upload-pack")
    for request in (get, post):
        assert request.headers["user-agent"].startswith("git/")
        assert request.headers["git-protocol"] == "version=2"
        assert request.headers["authorization"] == "Basic abc"
    assert (get.headers["accept"], post.headers["accept"]) == ("*/*", "application/x-git-upload-pack-result")
    assert get.headers["pragma"] == "no-cache" and "pragma" not in post.headers
    assert b"ref-prefix refs/heads/\n" in decode(post.body)


def test_known_saves_a_request(upstream: Any, client: UpstreamClient) -> None:
    """With the capabilities known a check is a single request."""
    upstream.refs(f"{A} refs/heads/main")
    known = Capabilities({"ls-refs": None}, 2, URL)
    listing, again = result_of(client.list_refs(URL, known=known))
    assert names(listing) == ["refs/heads/main"] and again is known
    assert [seen.method for seen in upstream.seen] == ["POST"]


def test_known_is_outdated(upstream: Any, client: UpstreamClient) -> None:
    """An upstream that no longer answers as it used to is asked again what it speaks."""
    upstream.say(200, b"<html>", Content_Type="text/html")
    upstream.git(f"{A} refs/heads/main\0agent=git/1".encode())
    listing, known = result_of(client.list_refs(URL, known=Capabilities({"ls-refs": None}, 2, URL)))
    assert (names(listing), known.protocol) == (["refs/heads/main"], 0)


def test_v0_upstream(upstream: Any, client: UpstreamClient) -> None:
    """An upstream without v2 has told its refs in the first answer."""
    upstream.git(b"# service=git-upload-pack\n", FLUSH, f"{A} HEAD\0symref=HEAD:refs/heads/x".encode())
    listing, _ = result_of(client.list_refs(URL, prefixes=("HEAD",)))
    assert head_target(listing) == "refs/heads/x" and len(upstream.seen) == 1


def test_gzip(upstream: Any, client: UpstreamClient) -> None:
    """A compressed listing is read."""
    body = encode_all([f"{A} refs/heads/main\n".encode(), FLUSH])
    upstream.v2()
    upstream.say(200, gzip.compress(body), Content_Type="application/x-git-upload-pack-result", Content_Encoding="gzip")
    assert names(result_of(client.list_refs(URL))[0]) == ["refs/heads/main"]


@pytest.mark.parametrize("cut", [0, 10, -1])
def test_gzip_broken_off(upstream: Any, client: UpstreamClient, cut: int) -> None:
    """A compressed listing that breaks off is refused."""
    body = gzip.compress(encode_all([f"{A} refs/heads/main\n".encode()]))[:cut]
    upstream.v2()
    upstream.say(200, body, Content_Type="application/x-git-upload-pack-result", Content_Encoding="gzip")
    with pytest.raises(UpstreamUnreachable, match="broke off"):
        result_of(client.list_refs(URL))


@pytest.mark.parametrize("compressed", [True, False])
def test_too_large(upstream: Any, client: UpstreamClient, compressed: bool) -> None:
    """A listing over the limit is given up, however small it was on the wire."""
    body = encode_all([f"{A} refs/heads/{'x' * 60}\n".encode()] * 200 + [FLUSH])
    headers = {"Content_Encoding": "gzip"} if compressed else {}
    upstream.v2()
    upstream.say(
        200, gzip.compress(body) if compressed else body, Content_Type="application/x-git-upload-pack-result", **headers
    )
    with pytest.raises(UpstreamUnreachable, match="limit"):
        result_of(client.list_refs(URL))


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refused(upstream: Any, client: UpstreamClient, status: int) -> None:
    """A refusal keeps its status, its text and what a credential helper needs."""
    upstream.say(status, b"who are you?", WWW_Authenticate='Basic realm="x"', Content_Type="text/plain", X_Other="1")
    with pytest.raises(UpstreamRefused) as caught:
        result_of(client.list_refs(URL, authorization="Basic c2VjcmV0"))
    assert (caught.value.status, caught.value.body) == (status, b"who are you?")
    assert {name.lower() for name, _ in caught.value.headers} == {b"www-authenticate", b"content-type"}
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize("headers", [{"Content_Type": "text/html"}, {"X_RateLimit_Remaining": "0"}])
def test_page_of_a_rate_limit(upstream: Any, client: UpstreamClient, headers: dict[str, str]) -> None:
    """A 403 that is a page for people, or says that the rate is spent, says nothing about rights."""
    upstream.say(403, b"<html>slow down", **headers)
    with pytest.raises(UpstreamBusy) as caught:
        result_of(client.list_refs(URL))
    assert (caught.value.status, caught.value.retry_after) == (403, None)


@pytest.mark.parametrize(
    "headers", [{"Content_Type": "text/plain"}, {"Content_Type": "text/html", "WWW_Authenticate": "Basic"}]
)
def test_plain_or_challenging_403(upstream: Any, client: UpstreamClient, headers: dict[str, str]) -> None:
    """A 403 in text, or in HTML with a challenge, is a refusal as git would take it."""
    upstream.say(403, b"denied", **headers)
    with pytest.raises(UpstreamRefused):
        result_of(client.list_refs(URL))


@pytest.mark.parametrize("status", [400, 402, 407, 413, 418, 421])
def test_of_something_in_between(upstream: Any, client: UpstreamClient, status: int) -> None:
    """A 4xx by which no host refuses git is an upstream in trouble, whose mirror is served."""
    upstream.say(status, b"a proxy's own affair", Content_Type="text/plain")
    with pytest.raises(UpstreamUnreachable, match=f"answered {status}"):
        result_of(client.list_refs(URL))


def test_captive_portal(upstream: Any, client: UpstreamClient) -> None:
    """A success that is not git's is no listing."""
    upstream.say(200, b"<html>please log in", Content_Type="text/html; charset=utf-8")
    with pytest.raises(UpstreamUnreachable, match="text/html"):
        result_of(client.list_refs(URL))


DUMB = f"{A}\trefs/heads/main\n{B}\trefs/tags/v1\n{A}\trefs/tags/v1^{{}}\n".encode()


@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", "application/octet-stream", ""])
def test_a_dumb_server(upstream: Any, client: UpstreamClient, kind: str) -> None:
    """Where a repository is served as files its refs are in info/refs, all but HEAD, which is a file of its own."""
    upstream.say(200, DUMB, Content_Type=kind)
    upstream.say(200, b"ref: refs/heads/main\n")
    listing, capabilities = result_of(client.list_refs(URL))
    assert listing.refs == (
        RemoteRef("HEAD", A, "refs/heads/main"),
        RemoteRef("refs/heads/main", A),
        RemoteRef("refs/tags/v1", B, None, A),
    )
    assert (capabilities.dumb, capabilities.protocol, upstream.seen[-1].url) == (True, 0, "git.example/org/repo/HEAD")
    assert {one.headers["pragma"] for one in upstream.seen} == {"no-cache"}, "caches on the way may keep what is a file"
    upstream.say(200, DUMB, Content_Type=kind)
    upstream.say(404)
    assert names(result_of(client.list_refs(URL))[0]) == ["refs/heads/main", "refs/tags/v1"]
    upstream.say(200, b"", Content_Type=kind)
    upstream.say(200, b"ref: refs/heads/main\n")
    assert result_of(client.list_refs(URL))[0].empty


def test_a_dumb_server_that_sends_head_elsewhere(upstream: Any, client: UpstreamClient) -> None:
    """To git it is one that has none."""
    upstream.say(200, DUMB, Content_Type="text/plain")
    upstream.say(302, Location="https://git.example/login")
    assert names(result_of(client.list_refs(URL))[0]) == ["refs/heads/main", "refs/tags/v1"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_dumb_server_in_trouble(upstream: Any, client: UpstreamClient, status: int) -> None:
    """Where HEAD isn't told for the moment, nothing is: everybody's default branch would be gone till the next time."""
    upstream.say(200, DUMB, Content_Type="text/plain")
    upstream.say(status, Retry_After="7")
    with pytest.raises(UpstreamBusy, match=f"answered {status}") as caught:
        result_of(client.list_refs(URL))
    assert caught.value.retry_after == 7


@pytest.mark.parametrize("head", [b"ref: HEAD\n", b"ref: ../HEAD\n", b"ref: config\n", b"c" * 64, b"<html>"])
def test_a_dumb_servers_head_that_is_none(upstream: Any, client: UpstreamClient, head: bytes) -> None:
    """What names neither a ref nor an object of the repository's format is no HEAD, and the refs are there."""
    upstream.say(200, DUMB, Content_Type="text/plain")
    upstream.say(200, head)
    assert names(result_of(client.list_refs(URL))[0]) == ["refs/heads/main", "refs/tags/v1"]


@pytest.mark.parametrize("status", [403, 404, 405, 501])
def test_a_smart_server_that_has_become_a_dumb_one(upstream: Any, client: UpstreamClient, status: int) -> None:
    """However it says that it can't be asked for refs any more, it is looked at anew, and serves at once."""
    upstream.say(status, b"Method Not Allowed")
    upstream.say(200, DUMB, Content_Type="text/plain")
    upstream.say(404)
    known = Capabilities({"ls-refs": None}, base_url=URL)
    listing, found = result_of(client.list_refs(URL, known=known))
    assert found.dumb and names(listing) == ["refs/heads/main", "refs/tags/v1"]


@pytest.mark.parametrize(
    "body", [b"", b"all is well\n", DUMB[:-9], b"\n", DUMB + b"\n", b"x" * 9000, DUMB + b"%b\n" % DUMB]
)
def test_text_that_is_no_list_of_refs(upstream: Any, client: UpstreamClient, body: bytes) -> None:
    """Only a whole list of refs is taken for a dumb server's."""
    upstream.say(200, body, Content_Type="text/plain")
    upstream.say(200, b"all is well\n")
    with pytest.raises(UpstreamUnreachable, match="not git's: its content type is 'text/plain'"):
        result_of(client.list_refs(URL))


@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", "application/octet-stream", ""])
def test_an_answer_of_any_type(upstream: Any, client: UpstreamClient, kind: str) -> None:
    """As git does, a listing that was asked for is taken for one whatever its server says that it is."""
    upstream.v2()
    upstream.git(f"{A} refs/heads/main\n".encode(), kind=kind)
    assert names(result_of(client.list_refs(URL))[0]) == ["refs/heads/main"]


@pytest.mark.parametrize("body", [b"zzzz", b"0003", b"00", b"0008ab", b"0040version 2\n"])
def test_garbage(upstream: Any, client: UpstreamClient, body: bytes) -> None:
    """What is no pkt-line stream, or not all of one, is no listing."""
    upstream.say(200, body, Content_Type="application/x-git-upload-pack-advertisement")
    with pytest.raises(UpstreamUnreachable, match="not git's"):
        result_of(client.list_refs(URL))


def test_err_not_found(upstream: Any, client: UpstreamClient) -> None:
    """An ERR packet about a missing repository is a refusal."""
    upstream.say(200, encode(b"ERR Repository not found"), Content_Type="application/x-git-upload-pack-advertisement")
    with pytest.raises(UpstreamRefused) as caught:
        result_of(client.list_refs(URL))
    assert caught.value.status == 404


def test_err_other(upstream: Any, client: UpstreamClient) -> None:
    """Any other ERR packet is told in the reason."""
    upstream.say(200, encode(b"ERR disk on fire"), Content_Type="application/x-git-upload-pack-advertisement")
    with pytest.raises(UpstreamUnreachable, match="disk on fire") as caught:
        result_of(client.list_refs(URL))
    assert caught.value.said == "disk on fire"


def test_busy_is_left_alone(upstream: Any, client: UpstreamClient, clock: FakeClock) -> None:
    """After 429 the same credential makes no check until Retry-After is over; another's does."""
    upstream.say(429, Retry_After="30")
    with pytest.raises(UpstreamBusy) as caught:
        result_of(client.list_refs(URL, authorization="one"))
    assert (caught.value.status, caught.value.retry_after) == (429, 30.0)
    with pytest.raises(UpstreamBusy, match="left alone"):
        result_of(client.list_refs(URL, authorization="one"))
    assert len(upstream.seen) == 1
    for authorization, wait in (("other", 0), ("one", 30)):
        clock.advance(wait)
        upstream.git(f"{A} refs/heads/main\0".encode())
        result_of(client.list_refs(URL, authorization=authorization))


def test_spent_rate_limit_as_403(upstream: Any, client: UpstreamClient) -> None:
    """A 403 with Retry-After is a spent rate limit, not a verdict on the credential."""
    upstream.say(403, Retry_After="60")
    with pytest.raises(UpstreamBusy):
        result_of(client.list_refs(URL))


def failures_of(client: UpstreamClient) -> list[Any]:
    """Begin to list refs and return what will be in how that has failed."""
    failures: list[Any] = []
    Deferred.fromCoroutine(client.list_refs(URL)).addErrback(failures.append)
    return failures


def test_check_times_out(upstream: Any, client: UpstreamClient, clock: FakeClock) -> None:
    """A check ends after its time although the upstream hangs, whichever of its requests hangs."""
    for answered in (0, 1):
        if answered:
            upstream.v2()
        upstream.script.append(None)
        failures = failures_of(client)
        clock.advance(9.9)
        assert not failures
        clock.advance(0.2)
        failures[0].trap(UpstreamTimeout)


def test_check_cancelled(upstream: Any, client: UpstreamClient) -> None:
    """Who waits for a check may give up."""
    upstream.script.append(None)
    failures: list[Any] = []
    waiting = Deferred.fromCoroutine(client.list_refs(URL))
    waiting.addErrback(failures.append)
    waiting.cancel()
    failures[0].trap(CancelledError)


# redirects


@pytest.mark.parametrize(
    ("written", "meant"), [("new/name", "new/name"), ("ORG/My Projekt ä", "ORG/My%20Projekt%20%C3%A4")]
)
def test_redirect_is_followed(upstream: Any, client: UpstreamClient, written: str, meant: str) -> None:
    """A moved repository is found within its host with the credential, and the POST goes to its new place."""
    upstream.say(301, Location=f"/{written}/info/refs?service=git-upload-pack")
    upstream.v2()
    upstream.refs(f"{A} refs/heads/main")
    _, known = result_of(client.list_refs(URL, authorization="Basic abc"))
    assert known.base_url == f"https://git.example/{meant}"
    assert upstream.seen[2].url == f"git.example/{meant}/git-upload-pack"
    assert all(seen.headers["authorization"] == "Basic abc" for seen in upstream.seen)


def test_redirect_across_hosts(upstream: Any, client: UpstreamClient) -> None:
    """Credentials stay behind when a redirect leaves their origin."""
    upstream.say(302, Location="https://other.example/r/info/refs?service=git-upload-pack")
    upstream.v2()
    upstream.refs()
    result_of(client.list_refs(URL, authorization="Basic abc"))
    assert ["authorization" in seen.headers for seen in upstream.seen] == [True, False, False]


def test_redirects_are_followed_as_far_as_git_follows_them(upstream: Any, client: UpstreamClient) -> None:
    """To https, to another owner, to another name: twenty times, and never in a circle."""
    for number in range(20):
        upstream.say(301, Location=f"https://git.example/r{number}/info/refs?service=git-upload-pack")
    upstream.v2()
    upstream.refs()
    _, known = result_of(client.list_refs(URL))
    assert known.base_url == "https://git.example/r19"
    for number in range(21):
        upstream.say(301, Location=f"https://git.example/r{number}/info/refs?service=git-upload-pack")
    with pytest.raises(UpstreamUnreachable, match="more than 20 times"):
        result_of(client.list_refs("https://git.example/other"))


def test_redirects_in_a_circle(upstream: Any, client: UpstreamClient) -> None:
    """A host that sends one back to where he came from is asked no further."""
    for place in ("a", "org/repo"):
        upstream.say(302, Location=f"https://git.example/{place}/info/refs?service=git-upload-pack")
    with pytest.raises(UpstreamUnreachable, match="in a circle"):
        result_of(client.list_refs(URL))
    assert len(upstream.seen) == 2


def test_slow_redirects(upstream: Any, client: UpstreamClient, clock: FakeClock) -> None:
    """A host that takes its time for each of them is waited for as long as for four answers, not for twenty."""

    class Slow(list[Any]):
        def pop(self, index: Any = -1) -> Any:
            clock.advance(9 if self[index] else 0)
            return super().pop(index)

    for number in range(4):
        upstream.say(302, Location=f"https://git.example/r{number}/info/refs?service=git-upload-pack")
    upstream.script = Slow([*upstream.script, None])
    failures = failures_of(client)
    clock.advance(3.9)
    assert not failures
    clock.advance(0.2)
    failures[0].trap(UpstreamTimeout)


def test_redirect_is_asked_again(upstream: Any, client: UpstreamClient) -> None:
    """A known redirect is no shortcut, for it may have been meant for another credential."""
    upstream.say(401)
    known = Capabilities({"ls-refs": None}, 2, "https://git.example/secret")
    with pytest.raises(UpstreamRefused):
        result_of(client.list_refs(URL, known=known))


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("https://evil.example/org/repo/info/refs?service=git-upload-pack", "not among"),
        ("http://git.example/org/repo/info/refs?service=git-upload-pack", "not among"),
        ("http://plain.example/org/repo/info/refs?service=git-upload-pack", "https to http"),
        ("https://u:p@git.example/org/repo/info/refs?service=git-upload-pack", "credentials"),
        ("https://git.example/login", "not a repository"),
        ("http://169.254.169.254/info/refs?service=git-upload-pack", "not among"),
        ("", "where it was asked"),
        ("https://[bad/info/refs", "malformed"),
    ],
)
def test_redirect_is_refused(upstream: Any, client: UpstreamClient, location: str, reason: str) -> None:
    """A redirect to another kind of place, another host or less protection is not followed."""
    for _ in range(4):
        upstream.say(302, Location=location)
    with pytest.raises(UpstreamUnreachable, match=reason):
        result_of(client.list_refs(URL))


# forwarding


def test_forward(upstream: Any, client: UpstreamClient) -> None:
    """A request travels with the client's own headers and body, without what concerns only the way here."""
    upstream.say(200, b"pack", Content_Type="x/y", Proxy_Status="a", ETag='"e"', Set_Cookie="a=b", Alt_Svc="h3")
    response = result_of(
        client.forward(
            b"POST",
            URL + "/git-upload-pack",
            [
                (b"Authorization", b"Basic other"), (b"Host", b"cachew.example"), (b"X-Forwarded-For", b"10.0.0.9"),
                (b"Connection", b"close, X-Private"), (b"X-Private", b"1"), (b"Proxy-Authorization", b"p"),
                (b"Content-Length", b"999"), (b"Transfer-Encoding", b"chunked"), (b"Git-Protocol", b"version=2"),
                (b"Expect", b"100-continue"), (b"Forwarded", b"for=10.0.0.9"),
            ],
            BytesSource(b"wants"),
            5,
            credential="Basic me",
        )
    )  # fmt: skip
    assert (response.status, response.length) == (200, 4)
    assert {name.lower() for name, _ in response.headers} == {b"content-type", b"etag", b"date"}
    assert result_of(read_all(response.source, 100)) == b"pack"
    seen = upstream.seen[0]
    assert (seen.body, seen.headers["content-length"], seen.headers["host"]) == (b"wants", "5", "git.example")
    own = {"accept-encoding", "content-length", "host", "user-agent"}
    assert set(seen.headers) - {"connection"} == {"authorization", "git-protocol"} | own
    assert (seen.headers["accept-encoding"], seen.headers["user-agent"]) == ("identity", "git/2.39.5 cachew/1.0")


def test_forward_keeps_the_clients_user_agent(upstream: Any, client: UpstreamClient) -> None:
    """GitHub and Bitbucket want a User-Agent that begins with git/: the client's own is passed on as it is."""
    upstream.say(200)
    result_of(client.forward(b"POST", URL + "/git-receive-pack", [(b"User-Agent", b"git/2.44.0")], BytesSource(b""), 0))
    assert upstream.seen[0].headers["user-agent"] == "git/2.44.0"


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(b"data")),
        ("X-GZIP", gzip.compress(b"da") + gzip.compress(b"ta")),
        ("deflate", zlib.compress(b"data")),
        ("deflate", zlib.compress(b"data")[2:-4]),
        ("gzip, gzip", gzip.compress(gzip.compress(b"data"))),
        ("identity", b"data"),
        ("none", b"data"),
    ],
    ids=["gzip", "members", "zlib", "raw deflate", "twice", "identity", "none"],
)
def test_an_encoding_that_nobody_asked_for_is_undone(
    upstream: Any, client: UpstreamClient, coding: str, packed: bytes
) -> None:
    """An upstream, or a proxy before it, that compresses unasked does no harm."""
    upstream.say(200, packed, Content_Encoding=coding, Content_Length=str(len(packed)), Content_Type="x/y")
    response = result_of(client.forward(b"POST", URL + "/git-upload-pack", [(b"Accept-Encoding", b"gzip")]))
    assert result_of(read_all(response.source, 100)) == b"data"
    assert "content-encoding" not in {name.lower().decode() for name, _ in response.headers}
    assert response.length == (None if packed != b"data" else 4)
    assert upstream.seen[0].headers["accept-encoding"] == "identity"


def test_an_encoding_that_is_not_known_is_told(upstream: Any, client: UpstreamClient) -> None:
    """What can't be decoded is the upstream's failure, with its reason."""
    upstream.say(200, b"?", Content_Encoding="br")
    with pytest.raises(UpstreamUnreachable, match="content encoding 'br', which nobody asked for"):
        result_of(client.forward(b"GET", URL + "/info/refs?service=git-upload-pack", []))


def test_an_empty_answer_with_an_encoding_is_empty(upstream: Any, client: UpstreamClient) -> None:
    """Where there is no body there is nothing to decode."""
    upstream.say(200, b"", Content_Encoding="gzip")
    response = result_of(client.forward(b"POST", URL + "/git-upload-pack", []))
    assert result_of(read_all(response.source, 100)) == b""


def test_an_encoded_refusal_is_read(upstream: Any, client: UpstreamClient) -> None:
    """The text of a refusal reaches the client though a proxy has compressed it."""
    upstream.say(404, gzip.compress(b"no such repository"), Content_Encoding="gzip", Content_Type="text/plain")
    with pytest.raises(UpstreamRefused) as caught:
        result_of(client.list_refs(URL))
    assert caught.value.body == b"no such repository"


def test_forward_chunked(upstream: Any, client: UpstreamClient) -> None:
    """A body of unknown length is sent chunked."""
    upstream.say(200)
    result_of(client.forward(b"POST", URL + "/git-receive-pack", [], BytesSource(b"x" * 1000)))
    assert upstream.seen[0].body == b"x" * 1000 and "content-length" not in upstream.seen[0].headers


def test_forward_head(upstream: Any, client: UpstreamClient) -> None:
    """HEAD tells the length of what it stands for."""
    upstream.say(200, b"", Content_Length="77")
    response = result_of(client.forward(b"HEAD", URL + "/info/lfs/x", []))
    assert response.length == 77


def test_forward_relays_refusals(upstream: Any, client: UpstreamClient) -> None:
    """A refused request's answer is relayed like any other."""
    upstream.say(401, b"no", WWW_Authenticate="Basic")
    response = result_of(client.forward(b"GET", URL + "/info/refs?service=git-receive-pack", []))
    assert response.status == 401 and (b"WWW-Authenticate", b"Basic") in response.headers


def test_forward_redirect(upstream: Any, client: UpstreamClient) -> None:
    """Where info/refs was redirected, later requests of the same credential go at once; another's don't."""
    upstream.say(301, Location="https://git.example/new/info/refs?service=git-receive-pack")
    for _ in range(3):
        upstream.say(200)
    mine = "Basic me\ncookie: o=git-1"
    refs = URL + "/info/refs?service=git-receive-pack"
    response = result_of(client.forward(b"GET", refs, [], credential=mine))
    assert response.url.startswith("https://git.example/new/")
    result_of(client.forward(b"POST", URL + "/git-receive-pack", [], BytesSource(b""), 0, credential=mine))
    result_of(client.forward(b"POST", URL + "/git-receive-pack", [], BytesSource(b""), 0))
    assert [seen.url for seen in upstream.seen[2:]] == [
        "git.example/new/git-receive-pack",
        "git.example/org/repo/git-receive-pack",
    ]
    shown = [(seen.headers.get("authorization"), seen.headers.get("cookie")) for seen in upstream.seen]
    assert shown == [("Basic me", "o=git-1")] * 3 + [(None, None)]


def test_no_credential_of_any_kind_leaves_its_origin(upstream: Any, client: UpstreamClient) -> None:
    """Where info/refs is redirected to another origin, neither Authorization nor a cookie or key goes along."""
    upstream.say(301, Location="https://other.example/new/info/refs?service=git-receive-pack")
    upstream.say(200)
    upstream.say(200)
    mine = "Basic me\ncookie: o=git-1\nx-key: 1"
    refs = URL + "/info/refs?service=git-receive-pack"
    result_of(client.forward(b"GET", refs, [(b"Accept", b"*/*")], credential=mine))
    result_of(client.forward(b"POST", URL + "/git-receive-pack", [], BytesSource(b""), 0, credential=mine))
    assert upstream.seen[0].headers["x-key"] == "1"
    for seen in upstream.seen[1:]:
        assert seen.url.startswith("other.example/new/")
        assert not {"authorization", "cookie", "x-key"} & set(seen.headers)


def test_forward_post_redirect(upstream: Any, client: UpstreamClient) -> None:
    """A redirect of anything but info/refs is not followed, unless that of info/refs agrees."""
    upstream.say(307, Location="https://other.example/x")
    upstream.say(200)
    with pytest.raises(UpstreamUnreachable, match="redirected a POST of /git-upload-pack"):
        result_of(client.forward(b"POST", URL + "/git-upload-pack", [], BytesSource(b"x"), 1))
    assert [seen.url for seen in upstream.seen] == [
        "git.example/org/repo/git-upload-pack",
        "git.example/org/repo/info/refs?service=git-upload-pack",
    ]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("operation", ["git-upload-pack", "git-receive-pack", "info/lfs/objects/batch"])
def test_the_first_request_after_a_start_finds_what_has_moved(
    upstream: Any, client: UpstreamClient, status: int, operation: str
) -> None:
    """Whatever is asked first of a repository that has been renamed reaches its new place, and so does what follows."""
    service = "git-receive-pack" if operation == "git-receive-pack" else "git-upload-pack"
    upstream.say(status, Location=f"https://git.example/new/{operation}")
    upstream.say(status, Location=f"https://git.example/new/info/refs?service={service}")
    for _ in range(3):
        upstream.say(200, b"")
    for _ in range(2):
        body = BytesSource(b"question")
        response = result_of(client.forward(b"POST", f"{URL}/{operation}", [], body, 8, credential="Basic me"))
        assert response.status == 200
    assert [seen.url for seen in upstream.seen] == [
        f"git.example/org/repo/{operation}",
        f"git.example/org/repo/info/refs?service={service}",
        f"git.example/new/info/refs?service={service}",
        f"git.example/new/{operation}",
        f"git.example/new/{operation}",
    ]
    assert upstream.seen[-2].body == b"question" and {seen.headers["authorization"] for seen in upstream.seen} == {
        "Basic me"
    }


def test_forward_times_out(upstream: Any, client: UpstreamClient, clock: FakeClock) -> None:
    """A request whose answer does not begin in time is given up, and its body closed."""
    upstream.script.append(None)
    failures: list[Any] = []
    Deferred.fromCoroutine(client.forward(b"POST", URL + "/git-upload-pack", [], BytesSource(b"x"), 1)).addErrback(
        failures.append
    )
    clock.advance(19)
    assert not failures
    clock.advance(2)
    failures[0].trap(UpstreamTimeout)
    assert not clock.getDelayedCalls()


def test_forward_body_fails(upstream: Any, client: UpstreamClient) -> None:
    """When the client's own body fails, that is what is raised, not something about the upstream."""

    class Broken(BytesSource):
        async def read(self, size: int) -> bytes:
            raise ConnectionResetError("client left")

    upstream.script.append(None)
    with pytest.raises(ConnectionResetError):
        result_of(client.forward(b"POST", URL + "/git-upload-pack", [], Broken(b""), 10))


def test_what_cannot_be_sent_leaves_nothing(upstream: Any, client: UpstreamClient, clock: FakeClock) -> None:
    """A request that the HTTP client refuses is one that failed: its body is closed and nothing waits for an answer."""
    body = BytesSource(b"wants")
    with pytest.raises(UpstreamUnreachable):
        result_of(client.forward(b"POST", f"{URL}/git-upload-pack?\u00e9", [], body, 5))
    assert not clock.getDelayedCalls()


class Resolving:
    """An agent that looks a host up for ever, and says that there is none when that is given up, as endpoints do."""

    def request(self, *_: object) -> "Deferred[Any]":
        """Ask for something."""
        return Deferred(lambda gone: gone.errback(DNSLookupError("no results for hostname lookup")))


@pytest.mark.parametrize("seconds", [None, 100])
def test_a_client_that_leaves_while_a_host_is_looked_up(clock: FakeClock, hosts: Hosts, seconds: float | None) -> None:
    """Who gives a request up is told so, not that there is no such host; a time-out remains one."""
    agent = cast(Any, Resolving())
    client = UpstreamClient(
        reactor=clock,
        agents=Agents(agent, agent, cast(Any, None)),
        spellings=spelled_as_asked(FakeClock()),
        redirects=Redirects(hosts),
        backoff=Backoff(clock=clock, random=lambda: 0.0),
        metrics=Metrics(),
    )
    body = BytesSource(b"body")
    asked = Deferred.fromCoroutine(client.forward(b"POST", "https://git.example/org/repo/git-upload-pack", [], body, 4))
    if seconds is None:
        asked.cancel()
    else:
        clock.advance(seconds)
    assert isinstance(failure_of(asked), CancelledError if seconds is None else UpstreamTimeout)
    assert not clock.getDelayedCalls()
