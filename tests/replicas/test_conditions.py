"""Stores that heed the conditions of puts, and one that doesn't."""

import uuid
from urllib.parse import urlsplit

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.logger import capturedLogs, formatEvent

from cachew.plumbing.bucket import Bucket
from cachew.plumbing.s3store import s3_store
from cachew.plumbing.threads import Threads
from cachew.replicas.conditions import ConditionCheck
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.objectstorerecords import ObjectStoreRecords
from cachew.replicas.records import Records
from tests.fakes.faultyproxy import FaultyProxy
from tests.fakes.objectservers import ACCESS_KEY, BUCKET, SECRET_KEY
from tests.fakes.records import UnreliableRecords

WARNING = "the object store ignores the conditions of puts"


@pytest.fixture(scope="module", autouse=True)
def servers(seaweedfs: str, moto: str) -> dict[str, str]:
    """Start the servers before any test looks at what they leave behind."""
    return {"seaweedfs": seaweedfs, "moto": moto}


def records_in(endpoint: str, threads: Threads) -> Records:
    """Return records in a part of a store that nobody else uses."""
    store = s3_store(
        bucket=BUCKET, endpoint=endpoint, prefix=uuid.uuid4().hex, access_key=ACCESS_KEY, secret_key=SECRET_KEY
    )
    return ObjectStoreRecords(bucket=Bucket(store=store, threads=threads))


async def warnings(records: Records) -> int:
    """Return how often two replicas, one after the other, warn of a store."""
    with capturedLogs() as events:
        for _ in range(2):
            check = ConditionCheck(records=records)
            await check.look()
            await check.look()
    return sum(formatEvent(event).startswith(WARNING) for event in events)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("server", ["memory", "seaweedfs", "moto"])
async def test_nothing_is_said_of_a_store_that_heeds_them(
    servers: dict[str, str], threads: Threads, server: str
) -> None:
    """Whether anybody has looked before or not."""
    records = MemoryRecords() if server == "memory" else records_in(servers[server], threads)
    assert await warnings(records) == 0


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("ignored", [b"if-", b"if-match", b"if-none-match"])
async def test_a_store_that_ignores_them_is_told_once_by_each_replica(
    servers: dict[str, str], threads: Threads, ignored: bytes
) -> None:
    """It takes puts whatever the condition, or whatever the condition of one kind."""
    proxy = FaultyProxy(reactor=reactor, target=urlsplit(servers["moto"]).port or 0)
    await proxy.start()
    proxy.change_requests = b"\r\n" + ignored, b"\r\nx" + ignored[1:]
    try:
        assert await warnings(records_in(f"http://127.0.0.1:{proxy.port}", threads)) == 2
    finally:
        await proxy.stop()


@pytest_twisted.ensureDeferred
async def test_a_store_that_fails_is_asked_again() -> None:
    """Nothing is known of it yet."""
    records = UnreliableRecords(MemoryRecords())
    check = ConditionCheck(records=records)
    records.down = True
    await check.look()
    records.down = False
    await check.look()
    assert await records.get("probe") is not None
