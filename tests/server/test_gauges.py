"""What the metrics tell of the moment."""

from pathlib import Path

import pytest_twisted
from prometheus_client import generate_latest
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred

from cachew.mirrors.listings import Listings
from cachew.mirrors.packindex import OpenIndexes
from cachew.plumbing.budget import Budget
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.process import Processes
from cachew.server.gauges import OpenGauges, ServerGauges, StoreGauges, WorkGauges
from cachew.web.storecounts import CacheStatus


@pytest_twisted.ensureDeferred
async def test_the_moment_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    """Queues, children, stores, free space and readiness are what they are when the metrics are read."""
    metrics, slots = Metrics(), Slots(limit=1)
    ready: list[bool] = []
    collectors: list[Collector] = [
        ServerGauges(version="1.2", is_ready=lambda: bool(ready), log_dropped=lambda: 7, ages=lambda: {"check": 12.5}),
        WorkGauges(places={"fetch": slots}, processes=Processes(reactor=None)),
        OpenGauges(
            descriptors=700,
            indexes=OpenIndexes(most_files=5),
            listings=Listings(limit=800),
            bodies=Budget(limit=900, share=300, files=3),
        ),
        StoreGauges(
            caches=lambda: [CacheStatus(name="packs", objects=2, size=30, capacity=400)],
            state=tmp_path,
        ),
    ]
    for collector in collectors:
        metrics.registry.register(collector)
    await slots.acquire("a")
    waiting = Deferred.fromCoroutine(slots.acquire("b"))
    text = generate_latest(metrics.registry).decode().splitlines()
    assert {
        'cachew_build_info{version="1.2"} 1.0',
        "cachew_ready 0.0",
        'cachew_oldest_seconds{what="check"} 12.5',
        'cachew_work_running{kind="fetch"} 1.0',
        'cachew_work_waiting{kind="fetch"} 1.0',
        'cachew_work_limit{kind="fetch"} 1.0',
        "cachew_processes_started_total 0.0",
        "cachew_processes 0.0",
        "cachew_request_body_bytes 0.0",
        "cachew_request_body_limit_bytes 900.0",
        "cachew_request_bodies_refused_total 0.0",
        "cachew_log_dropped_lines_total 7.0",
        "cachew_descriptors_limit 700.0",
        "cachew_pack_indexes_open 0.0",
        "cachew_listings_bytes 0.0",
        "cachew_listings_limit_bytes 800.0",
        "cachew_pack_indexes_open_limit 5.0",
        'cachew_store_bytes{store="packs"} 30.0',
        'cachew_store_limit_bytes{store="packs"} 400.0',
        'cachew_store_objects{store="packs"} 2.0',
    } <= set(text)
    assert any(line.startswith("cachew_descriptors ") and line != "cachew_descriptors 0.0" for line in text)
    assert any(line.startswith("cachew_state_free_bytes ") for line in text)
    assert any(line.startswith("process_resident_memory_bytes ") for line in text)
    ready.append(True)
    slots.release("a")
    await waiting
    assert "cachew_ready 1.0" in generate_latest(metrics.registry).decode().splitlines()


def test_every_metric_says_what_it_is_in_which_unit() -> None:
    """Names carry the house's prefix and their unit, and a text explains each."""
    for family in Metrics().registry.collect():
        assert family.documentation
        assert family.name.startswith(("cachew_", "process_"))
        assert family.type != "histogram" or family.name.endswith("_seconds")
