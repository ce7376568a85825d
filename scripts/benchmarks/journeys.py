"""``scripts/journeys``: which modules a request passes from its first byte to its last.

A whole server runs in this process in front of an upstream of the tests. A profile hook of the reactor's thread notes
every call into a module of cachew while one request is under way, so what is counted is what happens, not what could. A
request is under way until its answer is written and logged: what the server begins after that is work of its own.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from cachew.plumbing.pktline import DELIM, FLUSH, Packet, encode_all
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.repositories import make_repository
from tests.functional.server import HOST, UNSCHEDULED, Cachew
from tests.functional.upstream import Upstream

LIMITS = {"ls-refs": 24, "kept pack": 28, "cached snapshot": 32, "push": 32}
"""The most modules that each journey may pass."""

_TIMERS = frozenset({"plumbing.lag", "server.watchdog"})
_ANSWERED = ("web.app", "_ended")
"""Where a request is logged, when all of its answer has been written; a journey may take several."""
_WALKS = 3
_REPOSITORY = "org/repo"
_PUSHER = basic("user", "password")
_ROOT = str(Path(__file__).resolve().parents[2] / "cachew")


class Journey:
    """What one request passed.

    :param name: what was asked for.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.modules: list[str] = []
        self.moves = 0
        self._last = ""
        self._passed: list[str] = []
        self._moved = 0

    def note(self, frame: FrameType, event: str, argument: object) -> None:
        """Take one event of the profiler (``sys.setprofile``)."""
        module = _module(frame)
        if event == "return" and (module, frame.f_code.co_name) == _ANSWERED:
            self.modules, self.moves = list(self._passed), self._moved
        if event != "call" or module is None or _rings_by_itself(frame):
            return
        if module not in self._passed:
            self._passed.append(module)
        self._moved += module != self._last and bool(self._last)
        self._last = module

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Note calls as long as it lasts."""
        sys.setprofile(self.note)
        try:
            yield
        finally:
            sys.setprofile(None)


def _module(frame: FrameType) -> str | None:
    """Return which module of cachew a frame is of, None for others."""
    file = frame.f_code.co_filename
    if not file.startswith(_ROOT):
        return None
    return file.removeprefix(_ROOT).strip("/").removesuffix(".py").replace("/", ".")


def _rings_by_itself(frame: FrameType | None) -> bool:
    """Say whether something is done for a timer that rings every second or so, whatever requests there are."""
    while frame is not None:
        if _module(frame) in _TIMERS:
            return True
        frame = frame.f_back
    return False


def what_all_passed(walked: Sequence[Journey]) -> Journey:
    """Return one journey of several alike: timers that happened to ring beside a request are in one of them only."""
    found = Journey(walked[0].name)
    found.modules = [name for name in walked[0].modules if all(name in journey.modules for journey in walked)]
    found.moves = min(journey.moves for journey in walked)
    return found


class Walks:
    """Sends requests to a server and notes what they pass.

    :param cachew: the server.
    :param commit: the tip of the repository's one branch.
    """

    def __init__(self, cachew: Cachew, commit: str) -> None:
        self._cachew = cachew
        self._commit = commit

    async def walk(self, name: str, ask: Callable[[], object]) -> Journey:
        """Ask once so that everything is warm, then a few times more, noting what is passed each time.

        :param ask: asks and waits for the end of the answer; it runs in a thread.
        """
        await deferToThread(ask)
        walked = []
        for _ in range(_WALKS):
            await self._cachew.quiet()
            journey = Journey(name)
            with journey.under_way():
                await deferToThread(ask)
            walked.append(journey)
        return what_all_passed(walked)

    def ls_refs(self) -> None:
        """List the branches, protocol v2."""
        command: list[Packet] = [
            b"command=ls-refs\n",
            DELIM,
            b"peel\n",
            b"symrefs\n",
            b"ref-prefix refs/heads/\n",
            FLUSH,
        ]
        self._request("POST", "git-upload-pack", encode_all(command))

    def pack(self) -> None:
        """Clone."""
        want = f"want {self._commit}\n".encode()
        self._request("POST", "git-upload-pack", encode_all([b"command=fetch", DELIM, want, b"done\n", FLUSH]))

    def snapshot(self) -> None:
        """Get the snapshot."""
        self._request("GET", "snapshot.tar.zst")

    def _request(self, method: str, operation: str, body: bytes | None = None) -> None:
        connection = HTTPConnection("127.0.0.1", self._cachew.parts.server.addresses[0].port)
        headers = {"Git-Protocol": "version=2", "Content-Type": "application/x-git-upload-pack-request"}
        connection.request(method, f"/git/{HOST}/{_REPOSITORY}/{operation}", body, headers if body else {})
        response = connection.getresponse()
        if response.status != 200:
            raise SystemExit(f"{operation} was answered {response.status}: {response.read(500)!r}")
        response.read()
        connection.close()


async def _pushed(git: Git, cachew: Cachew, clone: Path) -> Journey:
    walked = []
    for _ in range(_WALKS):
        journey = Journey("push")
        await git.run("commit", "--allow-empty", "-m", "one more", cwd=clone)
        with journey.under_way():
            await git.run("push", "origin", "HEAD", cwd=clone)
        await cachew.quiet()
        walked.append(journey)
    return what_all_passed(walked)


async def _journeys(reactor: Any, place: Path) -> list[Journey]:
    (place / "upstream").mkdir()
    (place / "home").mkdir()
    upstream = Upstream(reactor=reactor, root=place / "upstream")
    repository = make_repository(upstream.path(_REPOSITORY), commits=20)
    await upstream.start()
    cachew = Cachew(reactor=reactor, state=place / "state", upstream=upstream.url, config=UNSCHEDULED)
    await cachew.start()
    try:
        await cachew.mirrored(_REPOSITORY)
        await cachew.quiet()
        walks = Walks(cachew, repository.commit())
        found = [
            await walks.walk("ls-refs", walks.ls_refs),
            await walks.walk("kept pack", walks.pack),
            await walks.walk("cached snapshot", walks.snapshot),
        ]
        git, clone = Git(reactor, place / "home"), place / "clone"
        upstream.gate.allow_push(_REPOSITORY, _PUSHER)
        git.config[f"http.{cachew.url}/.extraHeader"] = f"Authorization: {_PUSHER}"
        await git.run("clone", "-q", f"{cachew.url}/git/{HOST}/{_REPOSITORY}", str(clone))
        return [*found, await _pushed(git, cachew, clone)]
    finally:
        await cachew.stop()
        await upstream.stop()


async def _report(reactor: Any, place: Path, listed: bool) -> None:
    for journey in await _journeys(reactor, place):
        count, most = len(journey.modules), LIMITS[journey.name]
        mark = "" if count <= most else f"  more than {most}"
        print(f"{journey.name:16} {count:3} modules, {journey.moves:4} moves between them{mark}")
        if listed:
            print(*(f"    {module}" for module in journey.modules), sep="\n")


def main(words: Sequence[str]) -> None:
    """Print what each journey passes."""
    parser = argparse.ArgumentParser(prog="scripts/journeys", description=(__doc__ or "").partition(":")[2])
    parser.add_argument("--modules", action="store_true", help="name the modules")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as place:
        react(lambda reactor: Deferred.fromCoroutine(_report(reactor, Path(place), options.modules)))


if __name__ == "__main__":
    main(sys.argv[1:])
