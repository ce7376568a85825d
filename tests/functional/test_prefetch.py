"""Repositories that the config names are there before anybody asks for them."""

import pytest
import pytest_twisted

from cachew.config.load import ConfigErrors, load
from tests.functional.conftest import Start
from tests.functional.repositories import make_repository, push_commit
from tests.functional.upstream import Upstream


@pytest_twisted.ensureDeferred
async def test_named_repositories_are_mirrored_and_kept_up_to_date(upstream: Upstream, start: Start) -> None:
    """At the start each is mirrored, at each turn what was pushed since is fetched; one that fails is alone."""
    repository = make_repository(upstream.path("org/repo"), commits=2)
    names = '["git.example/org/none", "git.example/org/repo"]'
    cachew = await start(f'[[prefetch]]\nrepositories = {names}\ninterval = "500ms"\n[git]\nref-check-interval = "0s"')
    identity = cachew.identity("org/repo")
    await upstream.next_request("pack", "org/repo")
    mirror = await cachew.parts.mirrors.mirroring.made(identity)
    new = push_commit(repository, "main", "new")
    await upstream.next_request("pack", "org/repo")
    await cachew.quiet()
    assert mirror.refs.head_commit == new
    assert cachew.served() == {}


def test_names_are_checked() -> None:
    """A name that can be none, or is at a host that is not served, is told with its place."""
    with pytest.raises(ConfigErrors) as caught:
        load('[[prefetch]]\nrepositories = ["github.com", "github.com/o/r", "h.example/o/r"]', environ={})
    first, second = map(str, caught.value.problems)
    assert first.startswith('prefetch[0].repositories[0]: "github.com" is no repository\'s name')
    assert second == 'prefetch[0].repositories[2]: "h.example/o/r" is at a host that is not among the upstreams'
