"""What the schedule makes again, and what it leaves as it is."""

from collections.abc import Iterator

import pytest
import pytest_twisted
from twisted.internet import reactor

from cachew.snapshots.variants import NAMESPACE, Variant
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.loglines import LogLines, listening
from tests.functional.rawhttp import ask
from tests.functional.upstream import Upstream

SNAPSHOT = "/git/git.example/org/repo/snapshot.tar.zst"
MADE = "made snapshot"
OFTEN = """
[git]
ref-check-interval = "0s"
snapshot-interval = "200ms"
bundle-interval = "0s"
mirror-snapshot-interval = "0s"
repack-interval = "0s"
artefacts-for = "0s"
"""


@pytest.fixture
def log() -> Iterator[LogLines]:
    """What is logged."""
    with listening() as lines:
        yield lines


@pytest_twisted.ensureDeferred
async def test_an_unchanged_snapshot_is_left_alone(upstream: Upstream, start: Start, log: LogLines) -> None:
    """It is made again when HEAD has moved or when it has gone from the cache, and otherwise not."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=3)
    cachew = await start(OFTEN)
    mirror = await cachew.mirrored("org/repo")
    await log.seen(MADE)
    # Whatever is done by schedule asks the upstream first.
    await upstream.journal.reached(upstream.count("refs") + 8, "refs")
    assert log.count(MADE) == 1
    first = await ask(reactor, cachew.url, "HEAD", SNAPSHOT)
    again = log.next(MADE)
    assert await cachew.parts.store.cache.delete(NAMESPACE, Variant().key(mirror.instance))
    await again
    assert log.count(MADE) == 2
    again = log.next(MADE)
    pushed = repositories.push_commit(repository)
    await again
    await upstream.journal.reached(upstream.count("refs") + 8, "refs")
    assert log.count(MADE) == 3
    answer = await ask(reactor, cachew.url, "HEAD", SNAPSHOT)
    assert answer.headers["x-cachew-snapshot-commit"] == pushed
    assert answer.headers["etag"] != first.headers["etag"]


@pytest_twisted.ensureDeferred
async def test_a_quota_holds_from_the_start(upstream: Upstream, start: Start, log: LogLines) -> None:
    """A server that has more mirrors than it may keep forgets those used least as soon as it is ready."""
    earlier = await start()
    for name in ("org/old", "org/new"):
        repositories.make_repository(upstream.path(name), commits=3)
        await earlier.mirrored(name)
        await ask(reactor, earlier.url, "GET", f"/git/git.example/{name}/info/refs?service=git-upload-pack")
    await earlier.stop()
    forgetting = log.next("forgetting the mirror of")
    await start('[git]\nmirror-limit = "1KB"')
    assert "git.example/org/old" in await forgetting


@pytest_twisted.ensureDeferred
async def test_a_quota_is_kept_when_mirrors_grow(upstream: Upstream, start: Start, log: LogLines) -> None:
    """A new mirror takes the place of the one used least at once; that comes back when a client asks, not before."""
    cachew = await start('[git]\nmirror-limit = "1KB"\nsnapshot-interval = "1s"\n')
    for name in ("org/old", "org/new"):
        repositories.make_repository(upstream.path(name), commits=3)
    old = await cachew.mirrored("org/old")
    forgot = log.next("forgot the mirror of")
    await cachew.mirrored("org/new")
    assert "git.example/org/old" in await forgot and not old.ready
    await cachew.quiet()
    assert not old.ready and upstream.count("pack") == 2
    forgot = log.next("forgot the mirror of")
    await cachew.mirrored("org/old")
    assert "git.example/org/new" in await forgot and old.ready
