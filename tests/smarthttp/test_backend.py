"""The real git-http-backend, asked as a client asks."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from select import select
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from cachew.plumbing.child import Command
from cachew.plumbing.errors import ProcessFailed, ProcessTimedOut
from cachew.plumbing.jobs import Slots
from cachew.plumbing.pktline import DELIM, FLUSH, Packet, encode_all
from cachew.plumbing.process import Processes
from cachew.plumbing.streams import BytesSource, PushSource, read_all
from cachew.smarthttp.advertise import FETCH_FEATURES, ls_refs_response, v0_advertisement, v2_advertisement
from cachew.smarthttp.backend import Backend
from cachew.smarthttp.clientcommands import Probe, V2LsRefs
from cachew.smarthttp.request import protocol_version
from tests.cleanliness import has_ended
from tests.fakes.parsing import parse_command
from tests.smarthttp.test_advertise import refs_of

pytestmark = pytest.mark.timeout(60)


def fetch(*arguments: str) -> bytes:
    packets: list[Packet] = [b"command=fetch", b"object-format=sha1", DELIM]
    return encode_all([*packets, *(line.encode() for line in arguments), FLUSH])


@pytest_twisted.ensureDeferred
async def test_fetch(backend: Backend, slots: Slots, repository: Path, git: Any) -> None:
    """A fetch is answered with a pack, and the place is free again afterwards."""
    head = git("-C", str(repository), "rev-parse", "HEAD")
    answer = await backend.upload_pack(
        repository="r", directory=repository, body=fetch(f"want {head}", "done"), protocol="version=2"
    )
    assert slots.running == 1
    assert answer.status == 200
    assert ("content-type", "application/x-git-upload-pack-result") in answer.headers
    assert await answer.refusal() is None
    body = await read_all(answer.source, 1 << 20)
    assert body.startswith(b"000dpackfile\n") and body.endswith(b"0000") and b"PACK" in body
    assert slots.running == 0


@pytest_twisted.ensureDeferred
async def test_deltas_are_not_looked_for_where_that_is_not_wanted(backend: Backend, tmp_path: Path, git: Any) -> None:
    """Two files that are nearly the same go as they are packed, whole, which takes no time to find out."""
    work, noise = tmp_path / "alike", "".join(f"{number * number:x}" for number in range(5000))
    git("init", "-q", "-b", "main", str(work))
    for name in ("one", "two"):
        (work / name).write_text(name + noise)
    git("-C", str(work), "add", ".")
    git("-C", str(work), "commit", "-q", "-m", "both")
    body = fetch(f"want {git('-C', str(work), 'rev-parse', 'HEAD')}", "deepen 1", "done")

    async def size(*, search: bool) -> int:
        answer = await backend.upload_pack(
            repository="r", directory=work / ".git", body=body, protocol="version=2", search=search
        )
        return len(await read_all(answer.source, 1 << 20))

    assert await size(search=True) < 0.6 * await size(search=False)


def children() -> set[str]:
    """Return the ids of this process's children."""
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize(("long", "niceness"), [(False, 0), (True, 15)])
@pytest_twisted.ensureDeferred
async def test_what_takes_long_stands_back(backend: Backend, repository: Path, long: bool, niceness: int) -> None:
    """Who asks for little, and who is answered without a process, hardly waits for what takes a processor for long."""
    before = children()
    serving = Deferred.fromCoroutine(
        backend.upload_pack(
            repository="r", directory=repository, body=PushSource(), length=10, protocol="version=2", long=long
        )
    )
    (pid,) = children() - before
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, int(pid)) == min(own + niceness, 19)
    serving.cancel()
    with pytest.raises(CancelledError):
        await serving


@pytest_twisted.ensureDeferred
async def test_streamed_body(backend: Backend, repository: Path, git: Any) -> None:
    """A body of unknown length is passed on as it comes."""
    head = git("-C", str(repository), "rev-parse", "HEAD")
    body = BytesSource(fetch(f"want {head}", "done"))
    answer = await backend.upload_pack(repository="r", directory=repository, body=body, protocol="version=2")
    assert b"PACK" in await read_all(answer.source, 1 << 20)


@pytest_twisted.ensureDeferred
async def test_more_haves_than_the_backend_accepts_by_itself(backend: Backend, repository: Path, git: Any) -> None:
    """A request beyond http-backend's own limit of 10 MiB is served."""
    head = git("-C", str(repository), "rev-parse", "HEAD")
    haves = [f"have {number:040x}" for number in range(220_000)]
    body = fetch(f"want {head}", *haves, "done")
    assert len(body) > 10 * 1024 * 1024
    answer = await backend.upload_pack(repository="r", directory=repository, body=body, protocol="version=2")
    assert b"PACK" in await read_all(answer.source, 1 << 20)


@pytest_twisted.ensureDeferred
async def test_push_and_files_are_refused(backend: Backend, repository: Path) -> None:
    """Neither a push nor a plain file of the repository is served."""
    for path, query in (("/info/refs", "service=git-receive-pack"), ("/HEAD", ""), ("/config", "")):
        answer = await backend.serve(
            repository="r",
            directory=repository,
            path_info=path,
            method="GET",
            query=query,
            content_type="",
            body=b"",
            protocol=None,
        )
        assert answer.status in (403, 404), path
        answer.source.close()
        await answer.child.wait()


@pytest_twisted.ensureDeferred
async def test_backend_that_dies_at_once(processes: Processes, slots: Slots, tmp_path: Path) -> None:
    """A backend that ends before its header is a failed process, and its place is free again."""
    program = tmp_path / "git-http-backend"
    program.write_text("#!/bin/sh\necho broken >&2\nexit 9\n")
    program.chmod(0o755)
    backend = Backend(processes=processes, exec_path=tmp_path, slots=slots, home=tmp_path)
    with pytest.raises(ProcessFailed, match="broken"):
        await backend.info_refs(repository="r", directory=tmp_path, protocol=None)
    program.write_text("#!/bin/sh\nprintf 'not a header\\n\\n'\n")
    with pytest.raises(ProcessFailed, match="bad header"):
        await backend.info_refs(repository="r", directory=tmp_path, protocol=None)
    missing = Backend(processes=processes, exec_path=tmp_path / "none", slots=slots, home=tmp_path)
    with pytest.raises(ProcessFailed):
        await missing.info_refs(repository="r", directory=tmp_path, protocol=None)
    await processes.stop()
    assert slots.running == 0


@pytest_twisted.ensureDeferred
async def test_git_that_was_installed_anew(
    processes: Processes, slots: Slots, repository: Path, tmp_path: Path
) -> None:
    """Who asks when its programs have gone is told so, and whoever comes next is served by those that are there."""
    moved = Backend(
        processes=processes, exec_path=tmp_path / "gone", slots=slots, home=tmp_path, search_path=os.environ["PATH"]
    )
    with pytest.raises(ProcessFailed, match="No such file"):
        await moved.info_refs(repository="r", directory=repository, protocol=None)
    response = await moved.info_refs(repository="r", directory=repository, protocol=None)
    assert response.status == 200
    response.source.close()


@pytest_twisted.ensureDeferred
async def test_environment_is_an_allowlist(processes: Processes, slots: Slots, tmp_path: Path) -> None:
    """Git gets no variable of the server's, and no word of the protocol header but its version."""
    program = tmp_path / "git-http-backend"
    program.write_text("#!/bin/sh\nprintf 'A: b\\n\\n'\nenv\n")
    program.chmod(0o755)
    backend = Backend(processes=processes, exec_path=tmp_path, slots=slots, home=tmp_path)
    answer = await backend.info_refs(repository="r", directory=tmp_path, protocol="version=2:$(evil)")
    lines = (await read_all(answer.source, 10000)).decode().splitlines()
    assert "GIT_PROTOCOL=version=2" in lines
    names = {line.partition("=")[0] for line in lines}
    allowed = {"PATH", "HOME", "LC_ALL", "PWD", "_", "SHLVL", "OLDPWD", "GIT_TERMINAL_PROMPT"}
    assert not names & (set(os.environ) - allowed)


@pytest_twisted.ensureDeferred
async def test_cancel_while_waiting_for_the_header(processes: Processes, slots: Slots, tmp_path: Path) -> None:
    """A client that leaves before the header ends the backend and frees its place."""
    program = tmp_path / "git-http-backend"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    backend = Backend(processes=processes, exec_path=tmp_path, slots=slots, home=tmp_path)
    asking = Deferred.fromCoroutine(backend.info_refs(repository="r", directory=tmp_path, protocol=None))
    asking.cancel()
    with pytest.raises(CancelledError):
        await asking
    await processes.stop()
    assert slots.running == 0


@pytest_twisted.ensureDeferred
async def test_client_that_leaves_takes_the_whole_tree_along(backend: Backend, git: Any, tmp_path: Path) -> None:
    """Closing the answer in the middle of a large pack ends http-backend, upload-pack and pack-objects."""
    work, bare = tmp_path / "big", tmp_path / "big.git"
    git("init", "-q", "-b", "main", str(work))
    (work / "noise").write_bytes(os.urandom(8 * 1024 * 1024))
    git("-C", str(work), "add", "noise")
    git("-C", str(work), "commit", "-q", "-m", "noise")
    git("clone", "-q", "--bare", str(work), str(bare))
    head = git("-C", str(bare), "rev-parse", "HEAD")
    answer = await backend.upload_pack(
        repository="r", directory=bare, body=fetch(f"want {head}", "done"), protocol="version=2"
    )
    assert await answer.source.peek(1000)
    ends = [os.pidfd_open(pid) for pid in working_in(bare)]
    assert len(ends) >= 2
    answer.source.close()
    await answer.child.wait()
    assert await answer.source.read(1) == b""
    for end in ends:
        assert select([end], [], [], 5)[0], "a process was left running"
        os.close(end)


@pytest_twisted.ensureDeferred
async def test_a_backend_that_stops_is_given_up(processes: Processes, slots: Slots, tmp_path: Path) -> None:
    """An upload-pack that has stopped holds its client and its place no longer than it may be silent."""
    program = tmp_path / "git-http-backend"
    program.write_text("#!/bin/sh\nsh -c 'kill -STOP $$' & echo $! > pid\nwait\n".replace("pid", str(tmp_path / "pid")))
    program.chmod(0o755)
    backend = Backend(processes=processes, exec_path=tmp_path, slots=slots, home=tmp_path, silence=0.3)
    with pytest.raises(ProcessTimedOut, match="gave nothing"):
        await backend.info_refs(repository="r", directory=tmp_path, protocol=None)
    assert slots.running == processes.running == 0
    assert has_ended(int((tmp_path / "pid").read_text()))


def working_in(directory: Path) -> list[int]:
    """The processes whose working directory this is."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and (process / "cwd").readlink() == directory:
                found.append(int(process.name))
    return found


@pytest_twisted.ensureDeferred
async def test_broken_upload_ends_the_backend(backend: Backend, slots: Slots, repository: Path) -> None:
    """When the client's body breaks off, the backend is ended and the reason is raised."""
    body = PushSource()
    asking = Deferred.fromCoroutine(
        backend.upload_pack(repository="r", directory=repository, body=body, protocol="version=2")
    )
    body.data(b"0014command")
    body.fail(ConnectionError("left"))
    with pytest.raises((ConnectionError, ProcessFailed)):
        answer = await asking
        await read_all(answer.source, 1000)
    assert slots.running == 0


class Mirror(Resource):
    """Serves one repository to real git: listings from memory, packs from the backend."""

    isLeaf = True

    def __init__(self, backend: Backend, repository: Path, refs: Any) -> None:
        super().__init__()
        self._backend, self._repository, self._refs = backend, repository, refs
        self.failures: list[Failure] = []

    def render_GET(self, request: Request) -> bytes:
        version = protocol_version(self._protocol(request))
        request.setHeader("content-type", "application/x-git-upload-pack-advertisement")
        if version == 2:
            # What refs are is not the backend's to say, and git's own puts it where its client does not look for it.
            features = [feature for feature in FETCH_FEATURES if feature != "ref-in-want"]
            return v2_advertisement(object_format="sha1", features=features)
        return v0_advertisement(self._refs, object_format="sha1", version1=version == 1)

    def render_POST(self, request: Request) -> int:
        request.setHeader("content-type", "application/x-git-upload-pack-result")
        answering = Deferred.fromCoroutine(self._answer(request))
        answering.addErrback(self._failed, request)
        return NOT_DONE_YET

    def _failed(self, failure: Failure, request: Request) -> None:
        self.failures.append(failure)
        request.loseConnection()

    def _protocol(self, request: Request) -> str | None:
        return request.getHeader("git-protocol")

    async def _answer(self, request: Request) -> None:
        assert request.content is not None
        body = request.content.read()
        command = parse_command(body, self._protocol(request))
        if isinstance(command, V2LsRefs):
            request.write(ls_refs_response(self._refs, command))
        elif not isinstance(command, Probe):
            answer = await self._backend.upload_pack(
                repository="r", directory=self._repository, body=body, protocol=self._protocol(request)
            )
            assert await answer.refusal() is None
            while data := await answer.source.read(65536):
                request.write(data)
        request.finish()


@pytest_twisted.async_yield_fixture
async def serve(backend: Backend) -> AsyncIterator[Callable[[Path, Any], tuple[str, Mirror]]]:
    """Serve a repository on loopback, with the refs that are given."""
    ports: list[Any] = []
    listen: Any = reactor

    def serve(repository: Path, refs: Any) -> tuple[str, Mirror]:
        mirror = Mirror(backend, repository, refs)
        port = listen.listenTCP(0, Site(mirror), interface="127.0.0.1")
        ports.append(port)
        return f"http://127.0.0.1:{port.getHost().port}/r", mirror

    yield serve
    for port in ports:
        await port.stopListening()


@pytest.mark.parametrize("version", ["0", "1", "2"])
@pytest.mark.parametrize(
    "options", [(), ("--depth=1",), ("--filter=blob:none", "--bare"), ("--single-branch", "-bdév")]
)
@pytest_twisted.ensureDeferred
async def test_real_git_clones(
    serve: Any, processes: Processes, repository: Path, git: Any, tmp_path: Path, version: str, options: tuple[str, ...]
) -> None:
    """Real git clones by advertisement and listing from memory and a pack of the backend, in every version."""
    url, mirror = serve(repository, refs_of(git, repository))
    target = tmp_path / "clone"
    clone = ("git", "-c", f"protocol.version={version}", "clone", "-q", *options, url, str(target))
    await processes.run(Command(clone, git.env), timeout=30)
    assert mirror.failures == []
    await processes.run(Command(("git", "-C", str(target), "log", "--oneline"), git.env), timeout=30)
    listing = await processes.run(
        Command(("git", "-c", f"protocol.version={version}", "ls-remote", url), git.env), timeout=30
    )
    assert listing.stdout.decode().strip() == git("ls-remote", str(repository))
