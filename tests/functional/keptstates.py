"""State directories as released versions have left them; run as a module it keeps one of this version.

python -m tests.functional.keptstates
"""

import shutil
import signal
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from cachew.version import version
from tests.functional.daemon import Daemon
from tests.functional.gitclient import Git
from tests.functional.rawhttp import ask
from tests.functional.repositories import Repository, make_repository
from tests.functional.server import HOST
from tests.functional.upstream import Upstream

DIRECTORY = Path(__file__).parent / "states"
CONFIG = '[git]\nref-check-interval = "0s"\n[limits]\nmin-free = "0"\n[pack-cache]\nmin-free = "0"\n'
OBJECT, CONTENT = "/api/v1/object/kept/key", b"an object that outlives a version" * 100
SNAPSHOT = f"/git/{HOST}/org/repo/snapshot.tar.zst"


def repository_in(upstream: Upstream) -> Repository:
    """Make the repository that every kept state has mirrored: the same commits each time."""
    return make_repository(upstream.path("org/repo"), commits=3, tags=("v1",), seed=17)


def admin_token(state: Path) -> str:
    """Return a state directory's token as it is told."""
    return f"Authorization: Bearer {(state / 'admin-token').read_text().strip()}"


async def _keep(reactor: Any) -> None:
    place = Path(tempfile.mkdtemp(prefix="cachew-state-"))
    for name in ("upstream", "home"):
        (place / name).mkdir()
    upstream = Upstream(reactor=reactor, root=place / "upstream")
    await upstream.start()
    repository_in(upstream)
    server = Daemon(directory=place, upstream=upstream.url, config=CONFIG)
    await server.start(reactor)
    git = Git(reactor, place / "home")
    await git.run("clone", "-q", f"{server.url}/git/{HOST}/org/repo", "cold")
    await server.said("mirrored")
    await git.run("clone", "-q", f"{server.url}/git/{HOST}/org/repo", "warm")
    await ask(reactor, server.url, "POST", OBJECT, admin_token(server.state), body=CONTENT)
    await ask(reactor, server.url, "GET", SNAPSHOT)
    await server.said("made snapshot")
    await server.end(signal.SIGTERM)
    await upstream.stop()
    with tarfile.open(DIRECTORY / f"{version()}.tar.gz", "w:gz") as archive:
        archive.add(server.state, "state", filter=_nobody)
    shutil.rmtree(place)


def _nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(_keep(reactor)))
