"""What clients other than an up-to-date stock git send, byte by byte."""

import pytest
import pytest_twisted
from twisted.internet import reactor

from cachew.plumbing.pktline import DELIM, FLUSH, encode_all
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.loglines import listening
from tests.functional.rawhttp import ask, connect
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream

REPOSITORY = "/git/git.example/org/repo"
FETCH_TYPE = "Content-Type: application/x-git-upload-pack-request"
V2 = "Git-Protocol: version=2"


def fetch_command(want: str, *capabilities: str) -> bytes:
    """Return the body of a clone in protocol v2."""
    head = [f"{line}\n".encode() for line in ("command=fetch", *capabilities)]
    arguments = [f"{line}\n".encode() for line in ("no-progress", f"want {want}", "done")]
    return encode_all([*head, DELIM, *arguments, FLUSH])


async def warm(start: Start, upstream: Upstream) -> tuple[Cachew, str]:
    """Start a server, have a repository mirrored, and return the server and the commit."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=5)
    cachew = await start()
    await cachew.mirrored("org/repo")
    await cachew.quiet()
    return cachew, repository.commit()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("spelling", ["/", ".git/"])
async def test_a_slash_at_the_end_of_the_url(upstream: Upstream, start: Start, spelling: str) -> None:
    """Clients that append their paths to a URL with a slash at its end find the repository, not another one."""
    cachew, commit = await warm(start, upstream)
    base = f"{REPOSITORY}{spelling}"
    answer = await ask(reactor, cachew.url, "GET", f"{base}/info/refs?service=git-upload-pack")
    assert (answer.status, commit.encode() in answer.body) == (200, True)
    answer = await ask(
        reactor, cachew.url, "POST", f"{base}/git-upload-pack", FETCH_TYPE, V2, body=fetch_command(commit)
    )
    assert (answer.status, b"PACK" in answer.body) == (200, True)
    answer = await ask(reactor, cachew.url, "GET", f"{base}/snapshot.tar.zst")
    assert (answer.status, answer.headers["x-cachew-snapshot-commit"]) == (200, commit)
    assert [mirror.identity.name for mirror in cachew.parts.mirrors.collection] == ["git.example/org/repo"]


@pytest_twisted.ensureDeferred
async def test_session_ids(upstream: Upstream, start: Start) -> None:
    """A client that tells its session's id, as an upstream asks for it, is served by the mirror."""
    cachew, commit = await warm(start, upstream)
    body = fetch_command(commit, "agent=git/2", "session-id=20240102T030405.678901Z-H0-P0")
    answer = await ask(reactor, cachew.url, "POST", f"{REPOSITORY}/git-upload-pack", FETCH_TYPE, V2, body=body)
    assert (answer.status, b"PACK" in answer.body) == (200, True)
    assert dict(cachew.served()) == {"mirror": 1}


@pytest_twisted.ensureDeferred
async def test_http_1_0(upstream: Upstream, start: Start) -> None:
    """A client that speaks HTTP/1.0 gets whole answers without chunks, which end with the connection."""
    cachew, commit = await warm(start, upstream)
    body = fetch_command(commit)
    head = f"POST {REPOSITORY}/git-upload-pack HTTP/1.0\r\n{V2}\r\n{FETCH_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    for _ in range(2):
        client = await connect(reactor, cachew.url)
        client.send(head.encode(), body)
        await client.lost.wait()
        assert client.received.startswith(b"HTTP/1.0 200 ")
        assert b"chunked" not in client.received.lower()
        assert client.received.endswith(b"0000")


@pytest_twisted.ensureDeferred
async def test_a_range_of_what_is_only_being_made(upstream: Upstream, start: Start) -> None:
    """The original's client asks for a first range at once: it gets the whole, or later the range with the tag."""
    cachew, commit = await warm(start, upstream)
    path = f"{REPOSITORY}/snapshot.tar.zst"
    with listening() as log:
        whole = await ask(reactor, cachew.url, "GET", path, "Range: bytes=0-99")
        await log.seen("made snapshot")
    assert (whole.status, whole.headers["x-cachew-snapshot-commit"]) == (200, commit)
    await cachew.quiet()
    part = await ask(reactor, cachew.url, "GET", path, "Range: bytes=0-99")
    assert (part.status, part.headers["content-range"]) == (206, f"bytes 0-99/{len(whole.body)}")
    assert (part.body, part.headers["x-cachew-snapshot-commit"]) == (whole.body[:100], commit)
    pinned = f"If-Match: {part.headers['etag']}"
    rest = await ask(reactor, cachew.url, "GET", path, "Range: bytes=100-", pinned)
    assert (rest.status, part.body + rest.body) == (206, whole.body)
    changed = await ask(reactor, cachew.url, "GET", path, "Range: bytes=100-", 'If-Match: "another"')
    assert (changed.status, changed.headers["etag"]) == (412, part.headers["etag"])
