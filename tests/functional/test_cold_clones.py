"""The first clone of a repository takes its pack once."""

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.misbehaviour import Hold
from tests.functional.server import UNSCHEDULED
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("protocol", [0, 2])
async def test_a_crowd_costs_one_pack(upstream: Upstream, start: Start, git: Git, protocol: int) -> None:
    """Clients that clone at once, and the mirror, get their objects out of one answer of the upstream."""
    made = repositories.make_repository(upstream.path("org/repo"), commits=30, branches=["main", "topic"], tags=["v1"])
    repositories.push_commit(made, "topic")
    cachew = await start(UNSCHEDULED)
    git.instead_of(*cachew.instead_of)
    clones = [git.run("clone", "-q", URL, f"clone{number}", protocol=protocol) for number in range(4)]
    await gatherResults([Deferred.fromCoroutine(clone) for clone in clones])
    await cachew.quiet()
    mirror = await cachew.mirrored("org/repo")
    assert upstream.count("pack") == 1
    assert made.refs() == dict(mirror.refs.by_name)
    await git.run("--git-dir", str(mirror.directory), "fsck", "--strict")


@pytest_twisted.ensureDeferred
async def test_the_rest_is_fetched_beside_it(upstream: Upstream, start: Start, git: Git) -> None:
    """A clone of one branch gives the mirror that branch; what is missing comes as a fetch of what is new."""
    made = repositories.make_repository(upstream.path("org/repo"), commits=30, branches=["main", "topic"])
    repositories.push_commit(made, "topic")
    cachew = await start(UNSCHEDULED)
    git.instead_of(*cachew.instead_of)
    await git.run("clone", "-q", "--single-branch", URL, "clone")
    await cachew.quiet()
    mirror = await cachew.mirrored("org/repo")
    assert made.refs() == dict(mirror.refs.by_name)
    first, rest = upstream.journal.of("pack")
    assert b"have " not in first.body and b"have " in rest.body


@pytest_twisted.ensureDeferred
async def test_a_shallow_clone_is_served_first(upstream: Upstream, start: Start, git: Git) -> None:
    """What is less than a whole clone goes to its client before anything is fetched for the mirror."""
    made = repositories.make_repository(upstream.path("org/repo"), commits=30)
    cachew = await start(UNSCHEDULED)
    git.instead_of(*cachew.instead_of)
    await git.run("clone", "-q", "--depth=1", URL, "clone")
    await cachew.quiet()
    assert (await cachew.mirrored("org/repo")).refs.head_commit == made.commit()
    first, mirrored = upstream.journal.of("pack")
    assert b"deepen" in first.body and b"deepen" not in mirrored.body


@pytest_twisted.ensureDeferred
async def test_one_pack_is_kept_of_two_that_clients_received(upstream: Upstream, start: Start, git: Git) -> None:
    """Where a whole clone was served beside one of a single branch, the mirror is made of the whole clone's pack."""
    made = repositories.make_repository(upstream.path("org/repo"), commits=5, branches=["main", "topic"])
    repositories.push_commit(made, "topic")
    cachew = await start(UNSCHEDULED)
    git.instead_of(*cachew.instead_of)
    hold = Hold()
    upstream.misbehave(hold, kind="pack", times=2)
    clones = []
    for name, more in (("single", ["--single-branch"]), ("whole", [])):
        asked = upstream.next_request("pack")
        clones.append(Deferred.fromCoroutine(git.run("clone", "-q", *more, URL, name)))
        await asked
    hold.release()
    await gatherResults(clones)
    await cachew.quiet()
    mirror = await cachew.mirrored("org/repo")
    assert made.refs() == dict(mirror.refs.by_name)
    assert upstream.count("pack") == 2 and len(list(mirror.directory.glob("objects/pack/*.pack"))) == 1
