"""The first job after a push: what it will ask for is made before."""

import pytest_twisted

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"


@pytest_twisted.ensureDeferred
async def test_the_first_clone_after_a_push(upstream: Upstream, git: Git, start: Start) -> None:
    """The first clone of one commit after a push gets a kept pack, once the last three tips were cloned twice."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=3)
    cachew = await start('[git]\nref-check-interval = "0s"')
    git.instead_of(*cachew.instead_of)
    await cachew.mirrored("org/repo")

    async def clone(name: str) -> None:
        await git.run("clone", "-q", "--depth=1", URL, name, protocol=2)

    for number in range(3):
        pushed = repositories.push_commit(repository, "main", f"push {number}")
        await clone(f"{number}-first")
        await clone(f"{number}-second")
    pushed = repositories.push_commit(repository, "main", "the last")
    await git.run("ls-remote", URL, protocol=2)
    await cachew.quiet()
    before = dict(cachew.served())
    await clone("hit")
    made = {origin: count - before.get(origin, 0) for origin, count in cachew.served().items()}
    assert (made.get("mirror", 0), made["packcache"]) == (0, 1)
    assert (await git.run("-C", "hit", "rev-parse", "HEAD")).out == pushed
