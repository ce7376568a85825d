"""A disk tier whose file system is full: what was used least lately goes, and what is used stays."""

import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest_twisted
from twisted.internet import reactor

from tests.functional.daemon import Daemon
from tests.functional.gitclient import Git
from tests.functional.rawhttp import ask
from tests.functional.repositories import make_repository, push_commit
from tests.functional.server import HOST, UNSCHEDULED
from tests.functional.upstream import Upstream
from tests.http.wire import Response

_MEBIBYTE = 1024 * 1024
# Root needs no user namespace, and can't have one below a changed root directory.
_UNSHARE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--mount")
_SMALL_DISK = """mount -t tmpfs -o size=12m tmpfs "$0" && exec "$@\""""


class SmallDisk:
    """A server whose disk tier lies on a file system of 12 MiB and leaves nothing of it free."""

    def __init__(self, directory: Path) -> None:
        disk = directory / "disk"
        disk.mkdir()
        self._daemon = Daemon(
            directory=directory,
            upstream="http://127.0.0.1:1/",
            config=f'[[cache]]\nbackend = "disk"\npath = "{disk}"\nlimit = "1GB"\nmin-free = "0"',
            under=(*_UNSHARE, "sh", "-c", _SMALL_DISK, str(disk)),
        )

    async def start(self) -> None:
        """Start it."""
        await self._daemon.start(reactor)

    async def stop(self) -> None:
        """End it."""
        await self._daemon.kill()

    async def ask(self, method: str, path: str, body: bytes = b"") -> Response:
        """Ask for something of the object API."""
        token = f"Authorization: Bearer {(self._daemon.state / 'admin-token').read_text().strip()}"
        return await ask(reactor, self._daemon.url, method, f"/api/v1/{path}", token, body=body)


@pytest_twisted.async_yield_fixture
async def server(tmp_path: Path) -> AsyncIterator[SmallDisk]:
    """Give the server."""
    server = SmallDisk(tmp_path)
    await server.start()
    yield server
    await server.stop()


def content(number: int) -> bytes:
    """Return a mebibyte that no other number has."""
    return sha256(b"%d" % number).digest() * (_MEBIBYTE // 32)


@pytest_twisted.ensureDeferred
async def test_old_objects_go_when_the_disk_is_full(server: SmallDisk) -> None:
    """Uploads go on, what is read again and again is kept, and what is larger than the disk is refused."""
    for number in range(40):
        assert (await server.ask("POST", f"object/build/{number}", content(number))).status == 200
        assert (await server.ask("GET", "object/build/0")).body == content(0)
    stats = json.loads((await server.ask("GET", "stats")).body)
    assert 3 <= stats["objects"] <= 11
    kept = [number for number in range(40) if (await server.ask("HEAD", f"object/build/{number}")).status == 200]
    assert len(kept) == stats["objects"]
    assert kept == [0, *range(41 - len(kept), 40)]
    for number in kept:
        assert (await server.ask("GET", f"object/build/{number}")).body == content(number)
    assert (await server.ask("POST", "object/build/large", bytes(20 * _MEBIBYTE))).status == 507
    assert json.loads((await server.ask("GET", "stats")).body)["objects"] == stats["objects"]
    assert (await server.ask("HEAD", "object/build/large")).status == 404
    assert (await server.ask("POST", "object/build/after", content(99))).status == 200
    assert (await server.ask("GET", "object/build/after")).body == content(99)


_OWN_DISK = f"""{UNSCHEDULED}ref-check-interval = "0s"
[limits]
min-free = "0"
[pack-cache]
min-free = "0"
[[cache]]
backend = "disk"
min-free = "0"
"""


def fill(file: Path) -> None:
    """Write to a file until its disk is full."""
    with file.open("ab", buffering=0) as filling, suppress(OSError):
        while True:
            filling.write(bytes(4096))


@pytest_twisted.ensureDeferred
async def test_what_a_full_disk_keeps_from_being_made_is_told(tmp_path: Path, upstream: Upstream, git: Git) -> None:
    """Snapshots and bundles of a warm mirror are 503 with the reason, what was made before is served, and all is well
    when there is room again."""
    repository = make_repository(upstream.path("org/repo"), commits=3, files=20, size=100_000)
    state = tmp_path / "state"
    state.mkdir()
    under = (*_UNSHARE, "sh", "-c", _SMALL_DISK.replace("12m", "30m"), str(state))
    server = Daemon(directory=tmp_path, upstream=upstream.url, config=_OWN_DISK, under=under)
    await server.start(reactor)
    try:
        git.instead_of(*server.instead_of)
        await git.run("clone", "-q", f"https://{HOST}/org/repo", "copy")
        await server.said("mirrored git.example/org/repo")
        place, base = f"/git/{HOST}/org/repo", repository.commit("HEAD~1")
        bundle = f"{place}/snapshot.bundle?base={base}"
        made = await ask(reactor, server.url, "GET", bundle)
        push_commit(repository)
        await git.run("-C", "copy", "fetch", "-q")
        await server.said("fetched git.example/org/repo")
        for path in (f"{place}/snapshot.tar.zst", bundle.replace(base, repository.commit("HEAD~3"))):
            fill(server.seen(state / "filling"))
            refused = await ask(reactor, server.url, "GET", path)
            assert refused.status == 503 and re.search(b"No space left|disk is full", refused.body), refused
        assert (await ask(reactor, server.url, "GET", bundle)).body == made.body
        server.seen(state / "filling").unlink()
        assert (await ask(reactor, server.url, "GET", f"{place}/snapshot.tar.zst")).status == 200
        newer = await ask(reactor, server.url, "GET", bundle)
        assert newer.status == 200 and newer.body != made.body and "Traceback" not in server.output
    finally:
        await server.kill()
