"""The main job: clone and fetch through the server, cold and warm, with every protocol version."""

import pytest
import pytest_twisted

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.upstream import Upstream


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("protocol", [0, 1, 2])
async def test_clone_and_fetch(upstream: Upstream, git: Git, start: Start, protocol: int) -> None:
    """A clone is whole when cold and when warm, and a fetch brings what has been pushed since."""
    repository = repositories.make_repository(
        upstream.path("org/repo"), commits=30, branches=["main", "topic"], tags=["v1"]
    )
    cachew = await start('[git]\nref-check-interval = "0s"')
    git.instead_of(*cachew.instead_of)
    await git.run("clone", "-q", "https://git.example/org/repo", "cold", protocol=protocol)
    await cachew.mirrored("org/repo")
    await git.run("clone", "-q", "https://git.example/org/repo", "warm", protocol=protocol)
    new = repositories.push_commit(repository, "main", "new")
    await git.run("-C", "cold", "fetch", "-q", protocol=protocol)
    for name in ("cold", "warm"):
        await git.run("-C", name, "fsck", "--strict")
    assert (await git.run("-C", "cold", "rev-parse", "origin/main")).out == new
    listed = await git.run("ls-remote", "https://git.example/org/repo", protocol=protocol)
    assert listed.out == (await git.run("ls-remote", f"{upstream.url}org/repo")).out
    served = cachew.served()
    assert served["mirror"] >= 1 and served["packcache"] >= 1
