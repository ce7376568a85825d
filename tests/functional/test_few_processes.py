"""How many processes a push costs."""

import pytest_twisted

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.upstream import Upstream


@pytest_twisted.ensureDeferred
async def test_a_push_costs_a_pack(upstream: Upstream, git: Git, start: Start) -> None:
    """What it brings is taken and seen to be whole by one process; asking for it and moving its ref take none."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=20)
    cachew = await start('[git]\nref-check-interval = "0s"')
    git.instead_of(*cachew.instead_of)
    mirror = await cachew.mirrored("org/repo")
    await cachew.quiet()
    asked, before = len(upstream.journal.exchanges), cachew.parts.runtime.processes.started
    pushed = repositories.push_commit(repository, "main", "pushed")
    await git.run("ls-remote", "https://git.example/org/repo")
    await cachew.quiet()
    assert cachew.parts.runtime.processes.started - before == 1
    kinds = [exchange.kind for exchange in upstream.journal.exchanges[asked:]]
    # Without an interval each of a client's requests has the upstream asked for its refs.
    assert kinds[0] == "refs" and [kind for kind in kinds if kind != "refs"] == ["pack"]
    assert mirror.refs.by_name["refs/heads/main"] == pushed
    hidden = mirror.place.repository.directory / "refs" / "cachew"
    assert [path for path in hidden.rglob("*") if path.is_file()] == []
