"""``ref-in-want``, and what git shows of requests that are not served."""

from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from cachew.plumbing.pktline import DELIM, FLUSH, Packet, decode, encode_all
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.repositories import Repository
from tests.functional.server import HOST, Cachew
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"
LISTING = encode_all([b"command=ls-refs\n", b"object-format=sha1\n", DELIM, b"ref-prefix refs/heads/\n", FLUSH])
AT_ONCE = '[git]\nref-check-interval = "0s"'


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """The upstream's repository."""
    return repositories.make_repository(upstream.path("org/repo"), commits=20, branches=["main", "topic"], tags=["v1"])


async def warm(start: Start, git: Git) -> Cachew:
    """Start a server and have the repository mirrored."""
    cachew = await start(AT_ONCE)
    git.instead_of(*cachew.instead_of)
    await cachew.mirrored("org/repo")
    await cachew.quiet()
    return cachew


class OneConnection:
    """A client that asks for all over one connection, as git does; others come over connections of their own."""

    def __init__(self, cachew: Cachew) -> None:
        self._connection = HTTPConnection(urlsplit(cachew.url).netloc)
        self.close = self._connection.close

    async def upload_pack(self, body: bytes) -> list[Packet]:
        """Send a command of protocol v2 and return the packets that come back."""
        return decode(await deferToThread(self._ask, body))

    def _ask(self, body: bytes) -> bytes:
        headers = {"Git-Protocol": "version=2", "Content-Type": "application/x-git-upload-pack-request"}
        self._connection.request("POST", f"/git/{HOST}/org/repo/git-upload-pack", body, headers)
        return self._connection.getresponse().read()


def wanting(*names: bytes) -> bytes:
    """Return a fetch of refs by their names."""
    wants: list[Packet] = [b"want-ref " + name + b"\n" for name in names]
    return encode_all([b"command=fetch\n", b"object-format=sha1\n", DELIM, *wants, b"done\n", FLUSH])


def told(packets: Any) -> list[bytes]:
    """Return what an answer says of refs."""
    start = packets.index(b"wanted-refs\n")
    return list(packets[start + 1 : packets.index(DELIM, start)])


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "options", [(), ("--depth=2",), ("--filter=blob:none",), ("--single-branch", "--branch=topic"), ("--bare",)]
)
async def test_git_wants_refs_by_their_names(
    upstream: Upstream, repository: Repository, git: Git, start: Start, options: tuple[str, ...]
) -> None:
    """It is offered, so git asks so, and clones and fetches come out as from the upstream, out of the mirror."""
    cachew = await warm(start, git)
    trace = git.home / "trace"
    await git.run("clone", "-q", *options, URL, "clone", environment={"GIT_TRACE_PACKET": str(trace)})
    assert "want-ref refs/heads/" in trace.read_text()
    await git.run("clone", "-q", *options, f"{upstream.url}org/repo", "direct")
    refs = [(await git.run("-C", name, "for-each-ref")).out for name in ("clone", "direct")]
    assert refs[0] == refs[1]
    pushed = repositories.push_commit(repository, "topic" if "--single-branch" in options else "main", "new")
    await git.run("-C", "clone", "fetch", "-q", "origin", "+refs/heads/*:refs/remotes/origin/*")
    assert pushed in (await git.run("-C", "clone", "for-each-ref")).out
    assert cachew.served().get("upstream", 0) == 0


@pytest_twisted.ensureDeferred
async def test_a_ref_that_moved_after_the_listing(repository: Repository, git: Git, start: Start) -> None:
    """A client is given what the ref is when it fetches, and told so; of one that was deleted, what it was."""
    cachew = await warm(start, git)
    first, again = repository.commit("main"), wanting(b"refs/heads/main", b"refs/heads/topic")
    both = [b"%b refs/heads/main\n" % first.encode(), b"%b refs/heads/topic\n" % first.encode()]
    assert told(await cachew.upload_pack("org/repo", again)) == both
    pushed = repositories.push_commit(repository, "main", "moved")
    assert told(await cachew.upload_pack("org/repo", again)) == [b"%b refs/heads/main\n" % pushed.encode(), both[1]]
    assert told(await cachew.upload_pack("org/repo", again))[0].startswith(pushed.encode())
    pull = repositories.add_pull(repository, 7)
    answer = await cachew.upload_pack("org/repo", wanting(b"refs/pull/7/head"))
    assert told(answer) == [b"%b refs/pull/7/head\n" % pull.encode()]
    repositories.delete_branch(repository, "topic")
    assert told(await cachew.upload_pack("org/repo", again)) == [b"%b refs/heads/main\n" % pushed.encode(), both[1]]
    await cachew.quiet()
    assert told(await cachew.upload_pack("org/repo", again))[1] == both[1]
    for unknown in (b"refs/heads/none", b"refs/heads/mai", b"main", b"\xff"):
        assert (await cachew.upload_pack("org/repo", wanting(unknown)))[0] == b"ERR unknown ref " + unknown


@pytest_twisted.ensureDeferred
async def test_what_a_client_was_told_comes_too(repository: Repository, git: Git, start: Start) -> None:
    """Git's client puts a clone's branch where the listing had it, so that this has to be there, however shallow."""
    cachew = await warm(start, git)
    first = repository.commit("main")
    with closing(OneConnection(cachew)) as client:
        await client.upload_pack(LISTING)
        pushed = repositories.push_commit(repository, "main", "moved")
        shallow = wanting(b"refs/heads/main").replace(encode_all([b"done\n"]), encode_all([b"deepen 1\n", b"done\n"]))
        answers = await client.upload_pack(shallow), await cachew.upload_pack("org/repo", shallow)
    for answer, present in zip(answers, ((first, pushed), (pushed,)), strict=True):
        assert told(answer) == [b"%b refs/heads/main\n" % pushed.encode()]
        cut = {packet for packet in answer if isinstance(packet, bytes) and packet.startswith(b"shallow ")}
        assert cut == {b"shallow " + oid.encode() for oid in present}


@pytest_twisted.ensureDeferred
async def test_what_a_client_was_told_of_another_repository(repository: Repository, git: Git, start: Start) -> None:
    """Where the name stands for another repository by now, that is not asked for what the client was told before."""
    cachew = await warm(start, git)
    client = OneConnection(cachew)
    await client.upload_pack(LISTING)
    stream = b"commit refs/heads/other\nmark :1\ncommitter a <a> 1 +0000\ndata 1\nx\nget-mark :1\n"
    other = repositories.fast_import(repository, [stream]).strip()
    for name in repository.refs():
        repository.git("update-ref", name, other)
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.git("gc", "-q", "--prune=now")
    await cachew.upload_pack("org/repo", LISTING)
    with closing(client):
        answer = await client.upload_pack(wanting(b"refs/heads/main"))
    assert told(answer) == [b"%b refs/heads/main\n" % other.encode()]


@pytest_twisted.ensureDeferred
async def test_what_is_not_served_is_told_in_a_sentence_that_git_shows(
    repository: Repository, git: Git, start: Start
) -> None:
    """``git archive --remote`` and the dumb protocol: git 2.39 refuses the first by itself, later ones ask."""
    cachew = await warm(start, git)
    url = f"{cachew.url}/git/git.example/org/repo"
    dumb = await git.run("ls-remote", url, check=False, environment={"GIT_SMART_HTTP": "0"})
    assert dumb.code and "remote: this server speaks git's smart HTTP only" in dumb.err
    archive = await git.run("archive", f"--remote={url}", "HEAD", check=False)
    sentences = ("clone with --depth=1 and run git archive there", "operation not supported by protocol")
    assert archive.code and any(sentence in archive.err for sentence in sentences)
    listed = await cachew.get("org/repo/info/refs?service=git-upload-archive")
    assert listed.code == 403 and b"makes no archives" in await listed.content()
