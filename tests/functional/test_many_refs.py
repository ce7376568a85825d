"""What very many refs cost the upstream when somebody asks for one of them."""

import pytest_twisted
from twisted.internet.defer import Deferred

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.misbehaviour import Hold
from tests.functional.server import UNSCHEDULED, HeldClock
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"
REFS = 2500


def asked_for(upstream: Upstream) -> set[str]:
    """Return the prefixes that the upstream was asked for."""
    bodies = b"".join(exchange.body for exchange in upstream.journal.of("refs"))
    return {line.partition(b"\n")[0].decode() for line in bodies.split(b"ref-prefix ")[1:]}


@pytest_twisted.ensureDeferred
async def test_the_first_fetch_costs_what_it_costs_directly(upstream: Upstream, start: Start, git: Git) -> None:
    """A client of a repository that nobody has asked for has the upstream asked for what git itself would ask for.

    All refs are listed when it has been served, for the mirror.
    """
    repository = repositories.make_repository(upstream.path("org/repo"), commits=3, branches=["main", "topic"])
    cachew = await start(UNSCHEDULED)
    git.instead_of(*cachew.instead_of)
    await git.run("init", "-q", "clone")
    hold = Hold()
    upstream.misbehave(hold, kind="pack", times=1)
    fetching = Deferred.fromCoroutine(git.run("-C", "clone", "fetch", "-q", "--depth=1", "--no-tags", URL, "main"))
    await upstream.next_request("pack")
    assert [one.kind for one in upstream.journal.exchanges] == ["caps", "refs", "pack"] and upstream.connections == 1
    assert not {"refs/heads/", "refs/tags/"} & asked_for(upstream)
    hold.release()
    await fetching
    assert (await git.run("-C", "clone", "rev-parse", "FETCH_HEAD")).out == repository.commit()
    assert set((await cachew.mirrored("org/repo")).refs.by_name) == {"refs/heads/main", "refs/heads/topic"}


@pytest_twisted.ensureDeferred
async def test_one_branch_costs_what_it_costs_directly(upstream: Upstream, start: Start, git: Git) -> None:
    """Fetches of one branch, with and without something new, never list the others, and see what was just pushed."""
    from twisted.internet import reactor

    clock = HeldClock(reactor)
    repository = repositories.make_repository(upstream.path("org/repo"), commits=3)
    head = repository.commit()
    repository.git(
        "update-ref",
        "--stdin",
        stdin=b"".join(b"create refs/heads/b%05d %s\n" % (n, head.encode()) for n in range(REFS)),
    )
    cachew = await start(clock=clock)
    git.instead_of(*cachew.instead_of)
    await cachew.mirrored("org/repo")
    fetch = ("-C", "clone", "fetch", "-q", "--no-tags", "origin", "main")
    await git.run("clone", "-q", "--depth=1", "--no-tags", URL, "clone")
    upstream.journal.exchanges.clear()
    for _ in range(2):
        clock.advance(11)
        await git.run(*fetch)
    new = repositories.push_commit(repository)
    clock.advance(11)
    await git.run(*fetch)
    await cachew.quiet()
    assert (await git.run("-C", "clone", "rev-parse", "FETCH_HEAD")).out == new
    assert (await cachew.mirrored("org/repo")).refs.by_name["refs/heads/main"] == new
    assert asked_for(upstream) and not {"refs/heads/", "refs/tags/"} & asked_for(upstream)
    assert upstream.count("pack") == 1
