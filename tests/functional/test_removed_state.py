"""Parts of the state directory removed under a running server: what can be made again is, the rest readiness tells."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.rawhttp import ask
from tests.functional.repositories import make_repository, push_commit
from tests.functional.server import HOST, UNSCHEDULED, Cachew
from tests.functional.upstream import Upstream

URL = f"https://{HOST}/org/repo"


async def everything_works(server: Cachew, token: str, git: Git, upstream: Upstream, name: str) -> None:
    """Clone with every protocol, fetch something new, and have every artefact, without any internal error."""
    repository = make_repository(upstream.path(f"org/{name}"), commits=2, seed=len(name))
    for protocol in (0, 2):
        await git.run("clone", "-q", URL, f"{name}{protocol}", protocol=protocol)
    await git.run("clone", "-q", f"https://{HOST}/org/{name}", name)
    assert (await git.run("-C", name, "rev-parse", "HEAD")).out == repository.commit()
    for path in ("org/repo/snapshot.tar.zst", f"org/{name}/snapshot.tar.zst"):
        answer = await server.get(path)
        assert answer.code == 200 and len(await answer.content()) > 500
    bearer = f"Authorization: Bearer {token}"
    for path in ("/admin/repositories", "/metrics", "/_readiness", "/admin/overview", "/api/v1/stats"):
        assert (await ask(reactor, server.url, "GET", path, bearer)).status == 200
    stored = await ask(reactor, server.url, "POST", "/api/v1/object/build/key", bearer, body=b"data")
    assert stored.status == 200
    assert (await ask(reactor, server.url, "GET", "/api/v1/object/build/key", bearer)).body == b"data"
    await server.quiet()


REMOVED = {
    "packs": lambda state: [state / "packs"],
    "scratch": lambda state: [state / "scratch"],
    "spools": lambda state: [state / "spools"],
    "mirrors": lambda state: [state / "mirrors"],
    "one mirror": lambda state: list((state / "mirrors" / HOST).iterdir()),
    "home": lambda state: [state / "home"],
    "cache": lambda state: [state / "cache"],
    "all": lambda state: [state],
}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("what", REMOVED)
async def test_what_is_removed_is_made_again(
    what: str, upstream: Upstream, start: Start, git: Git, tmp_path: Path
) -> None:
    """Each directory, one mirror, or all of the state is removed while the server runs, and nothing fails for it."""
    repository = make_repository(upstream.path("org/repo"), commits=3)
    server = await start(UNSCHEDULED)
    git.instead_of(*server.instead_of)
    token = server.token
    await server.mirrored("org/repo")
    await everything_works(server, token, git, upstream, "before")
    chosen: Callable[[Path], list[Path]] = REMOVED[what]
    for path in chosen(server.state):
        shutil.rmtree(path)
    await everything_works(server, token, git, upstream, "after")
    push_commit(repository)
    await everything_works(server, token, git, upstream, "later")
    mirror = await server.mirrored("org/repo")
    assert mirror.ready and (mirror.directory / "HEAD").exists()
