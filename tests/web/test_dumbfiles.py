"""Where HEAD is, for clients that ask for it as a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.instance import Instance
from cachew.plumbing.errors import UpstreamUnreachable
from cachew.web.access.guard import Right
from cachew.web.dumbfiles import DumbFiles
from tests.fakes.disturbance import FakeRequest, Steps
from tests.fakes.gitserving import IDENTITY, FakeFreshness, FakeMirror, FakeRemotes
from tests.fakes.instances import right
from tests.fakes.settled import failure_of, value_of
from tests.web.test_packs import Fetches

STALE = ['110 - "response is stale"']


def asked(directory: Path, *, stale: bool, instance: Instance | None = None) -> tuple[Any, Deferred[None]]:
    """Return a request for HEAD, and its end.

    :param stale: whether the upstream does not answer.
    :param instance: to which the client has a right; the mirror's by default.
    """
    steps = Steps(slow=False)
    bench = Fetches(
        steps,
        directory,
        mirror=FakeMirror(directory),
        backend=(),
        limit=0,
        freshness=FakeFreshness(steps, stale=stale),
    )
    files = DumbFiles(remotes=cast(Any, FakeRemotes()), listings=bench.listings, passthrough=cast(Any, None))
    given = right(IDENTITY)

    async def again() -> Right:
        return given

    given = replace(given, instance=instance or given.instance, give=again)
    request: Any = FakeRequest(steps)
    return request, Deferred.fromCoroutine(files.handle(request, given, "HEAD"))


@pytest.mark.parametrize("stale", [False, True])
def test_head_is_where_the_listing_has_it(tmp_path: Path, stale: bool) -> None:
    """What the mirror has, as the upstream does not answer, is marked like a listing of the mirror's own."""
    request, answered = asked(tmp_path, stale=stale)
    value_of(answered)
    assert b"".join(request.written) == b"ref: refs/heads/main\n"
    assert request.responseHeaders.getRawHeaders("Warning") == (STALE if stale else None)


def test_where_a_mirrors_head_is_learns_nobody_who_may_not_have_the_mirror(tmp_path: Path) -> None:
    """Who has no right to what is kept is told that the upstream does not say."""
    request, answered = asked(tmp_path, stale=True, instance=Instance(IDENTITY, "1" * 32))
    assert isinstance(failure_of(answered), UpstreamUnreachable) and not request.written
