"""How work shares its places."""

from types import SimpleNamespace
from typing import Any

from cachew.server.mirrors import make_places
from tests.plumbing.test_jobs import Worker


def test_one_repository_never_holds_all_places_for_making() -> None:
    """With two places a repository whose archives take minutes holds one: another's is made at once."""
    git = SimpleNamespace(max_processes=0, max_fetches=8, max_clones=4, snapshot_concurrency=2, queue_limit=1000)
    runtime: Any = SimpleNamespace(settings=SimpleNamespace(git=git), environment=SimpleNamespace(cores=2))
    making, started = make_places(runtime).making, list[str]()
    workers = [Worker(making, key, started) for key in ("huge", "huge", "huge", "tiny")]
    assert started == ["huge", "tiny"]
    for worker in workers:
        worker.end.callback(None)
    assert making.running == 0
