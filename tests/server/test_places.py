"""How work shares its places."""

from types import SimpleNamespace
from typing import Any

import pytest

from cachew.plumbing.jobs import LONG
from cachew.server.places import make_places
from tests.fakes.clock import FakeClock
from tests.plumbing.test_jobs import Worker


def runtime() -> Any:
    """Return what the places are made for."""
    git = SimpleNamespace(max_processes=0, max_fetches=8, max_clones=4, snapshot_concurrency=2, queue_limit=1000)
    environment, clock = SimpleNamespace(cores=2), FakeClock()
    return SimpleNamespace(settings=SimpleNamespace(git=git), environment=environment, reactor=clock, clock=clock)


def test_one_repository_never_holds_all_places_for_making() -> None:
    """With two places a repository whose archives take minutes holds one: another's is made at once."""
    making, started = make_places(runtime()).making, list[str]()
    workers = [Worker(making, key, started) for key in ("huge", "huge", "huge", "tiny")]
    assert started == ["huge", "tiny"]
    for worker in workers:
        worker.end.callback(None)
    assert making.running == 0


def test_huge_repositories_together_never_hold_all_places_for_making() -> None:
    """With two places two huge ones take turns in one of them; a tiny one's first snapshot is made at once."""
    making, started = make_places(runtime()).making, list[str]()
    workers = [Worker(making, key, started, long=True) for key in ("huge", "vast")]
    workers.append(Worker(making, "tiny", started))
    assert started == ["huge", "tiny"]
    for worker in workers:
        worker.end.callback(None)
    assert started == ["huge", "tiny", "vast"] and making.running == 0


@pytest.mark.parametrize("kind", ["cloning", "fetching", "by_id", "making", "checking"])
def test_long_work_of_unknown_length_leaves_a_place_after_seconds(kind: str) -> None:
    """As many huge clones, fetches or archives as there are places delay a tiny one by seconds, not by minutes."""
    wanted = runtime()
    slots, started = getattr(make_places(wanted), kind), list[str]()
    workers = [Worker(slots, f"huge {number}", started) for number in range(slots.limit)]
    workers.append(Worker(slots, "tiny", started))
    assert "tiny" not in started
    wanted.reactor.advance(LONG)
    assert started[-1] == "tiny"
    for worker in workers:
        worker.end.callback(None)
    assert slots.running == 0


def test_what_costs_little_never_waits_for_what_costs_much() -> None:
    """Expensive fetches of one repository leave half of the places to others, those of many some to cheap ones."""
    serving, started = make_places(runtime()).serving, list[str]()
    workers = [Worker(serving, "huge", started, long=True) for _ in range(60)]
    assert len(started) == 4
    workers += [Worker(serving, "huge", started), Worker(serving, "small", started, long=True)]
    assert started[4:] == ["huge", "small"]
    workers += [Worker(serving, "vast", started, long=True) for _ in range(60)]
    workers.append(Worker(serving, "tiny", started))
    assert started[6:] == ["vast", "tiny"]
    for worker in workers:
        worker.end.callback(None)
    assert (serving.running, serving.waiting) == (0, 0)


def test_a_single_place_is_everybodys() -> None:
    """Where there is one place, whatever is asked for gets it in its turn."""
    made = runtime()
    made.settings.git.max_processes = 1
    serving, started = make_places(made).serving, list[str]()
    workers = [Worker(serving, "huge", started, long=True), Worker(serving, "tiny", started)]
    for worker in workers:
        worker.end.callback(None)
    assert started == ["huge", "tiny"]
