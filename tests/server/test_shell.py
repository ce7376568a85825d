"""What the manhole offers to whoever does not know the server's parts."""

from typing import Any, cast

import pytest_twisted

from cachew.mirrors.identity import CASE_MATTERS
from cachew.replicas.leases import Leases
from cachew.server.manhole import Help
from cachew.server.shell import Shell, described, why
from cachew.web.statuses import RepositoryStatus
from tests.fakes.clock import FakeClock
from tests.web.adminfront import FakeOperations, repositories


def shell(operations: FakeOperations) -> Shell:
    clock = FakeClock()
    leases = Leases(records=cast(Any, None), holder="a", reactor=clock, clock=clock, unique=lambda: "")
    server = cast(Any, operations)
    return Shell(
        statuses=server,
        table=server,
        work=server,
        stores=server,
        leases=leases,
        grammar=CASE_MATTERS,
        clock=FakeClock(now=1000.0),
    )


def test_help_lists_what_can_be_asked_and_done() -> None:
    """Each function has a line with how it is called and what it does."""
    names = shell(FakeOperations()).names()
    text = repr(Help(names, described(names)))
    for call in ("repositories()", 'mirror("host/org/repo")', "caches()", "leases()", 'why("host/org/repo")'):
        assert any(line.startswith(call) and len(line) > len(call) + 20 for line in text.splitlines()), call


@pytest_twisted.ensureDeferred
async def test_a_mirror_is_worked_on_by_its_name() -> None:
    """What the dashboard's buttons do is done by a method of the repository that is named."""
    operations = FakeOperations()
    operations.known = [RepositoryStatus(name="github.com/org/repo", state="ready")]
    mirror = shell(operations).mirror("github.com/org/repo")
    for action in ("fetch", "snapshot", "repack", "scrub", "forget"):
        assert await getattr(mirror, action)() == f"{action} of github.com/org/repo has begun"
    assert [action for _, action in operations.acts] == ["fetch", "snapshot", "repack", "scrub", "forget"]
    assert "fetch()" in repr(mirror)


@pytest_twisted.ensureDeferred
async def test_repositories_and_leases_are_listed() -> None:
    """A line for each repository tells its state and what is wrong."""
    operations = FakeOperations()
    operations.known = repositories()
    lines = await shell(operations).repositories()
    assert len(lines) == len(operations.known) and lines[0].startswith(f"{operations.known[0].name}: ")
    assert shell(operations).leases() == []
    assert "is not mirrored" in await shell(operations).why("github.com/org/none")


def test_why_says_what_is_answered_from_where() -> None:
    """One paragraph: state, last check, what went wrong, what clients get from where."""
    ready = RepositoryStatus(name="h/r", state="ready", checked=990.0, snapshot=400.0, error="it broke", stale=True)
    assert why(ready, 1000.0) == (
        "h/r is ready, its upstream was last asked 10 s ago; what last went wrong: it broke; its refs differ from the "
        "upstream's, or that could not be asked; refs are answered from what the upstream lists, objects from the "
        "mirror or a kept pack; its snapshot is sent from the cache and was made 600 s ago."
    )
    assert why(RepositoryStatus(name="h/r", state="cloning"), 1000.0) == (
        "h/r is cloning, its upstream was last asked never; clients are answered by the upstream, since the mirror "
        "does not serve; there is no cached snapshot."
    )
