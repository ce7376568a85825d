"""Shared records: the contract on every storage."""

import itertools
import uuid
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_twisted
from obstore.store import MemoryStore
from twisted.internet import reactor

from cachew.plumbing.bucket import Bucket
from cachew.plumbing.errors import Conflict
from cachew.plumbing.s3store import s3_store
from cachew.plumbing.threads import Threads
from cachew.replicas.completions import TaskCompletions
from cachew.replicas.leases import Leases
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.objectstorerecords import ObjectStoreRecords
from cachew.replicas.records import Records
from tests.contracts.records import RecordsContract
from tests.fakes.clock import FakeClock
from tests.fakes.faultyproxy import FaultyProxy
from tests.fakes.objectservers import ACCESS_KEY, BUCKET, SECRET_KEY

DAMAGED = [
    b"rubbish",
    b"",
    b"\xff",
    b"[]",
    b"{}",
    b'{"value": 5}',
    b'{"value": null}',
    b'{"value": [["beat", 1]]}',
    b'{"value": {"n": 1}',
    b"[" * 100_000,
    b'{"value": {"n": ' + b"1" * 10_000 + b"}}",
]


@pytest.fixture(scope="module", autouse=True)
def servers(seaweedfs: str, moto: str) -> dict[str, str]:
    """Start the servers before any test looks at what they leave behind."""
    return {"seaweedfs": seaweedfs, "moto": moto}


@pytest.fixture(params=["in memory", "seaweedfs", "moto"])
def bucket(request: pytest.FixtureRequest, servers: dict[str, str], threads: Threads) -> Bucket:
    """A part of an object store that nobody else uses."""
    raw: Any = MemoryStore()
    if request.param in servers:
        raw = s3_store(
            bucket=BUCKET,
            endpoint=servers[request.param],
            prefix=uuid.uuid4().hex,
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
        )
    return Bucket(store=raw, threads=threads)


class TestMemory(RecordsContract):
    """Records in memory keep the contract."""

    @pytest.fixture
    def records(self) -> Records:
        """Return the records."""
        return MemoryRecords()


class TestObjectStore(RecordsContract):
    """Records in an object store keep the contract."""

    @pytest.fixture
    def records(self, bucket: Bucket) -> Records:
        """Return the records."""
        return ObjectStoreRecords(bucket=bucket)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("damaged", DAMAGED)
async def test_what_is_damaged_has_no_fields(bucket: Bucket, damaged: bytes) -> None:
    """Something else in a record's place says nothing, and is replaced in the place of exactly that."""
    records = ObjectStoreRecords(bucket=bucket)
    await bucket.put("records/name", damaged)
    found = await records.get("name")
    assert found is not None and found.value == {}
    with pytest.raises(Conflict):
        await records.put("name", {"n": 1}, version=None)
    first = await records.put("name", {"n": 1}, version=found.version)
    with pytest.raises(Conflict):
        await records.put("name", {"n": 2}, version=found.version)
    assert await records.get("name") == first


@pytest_twisted.ensureDeferred
async def test_a_task_goes_on_after_its_records_were_damaged(bucket: Bucket) -> None:
    """The lease is to be had after its duration, and what is completed is written down."""
    clock, terms = FakeClock(), itertools.count()
    records = ObjectStoreRecords(bucket=bucket)
    leases = Leases(
        records=records, holder="one", reactor=clock, clock=clock, duration=60.0, unique=lambda: str(next(terms))
    )
    progress = TaskCompletions(records=records, clock=FakeClock(now=1000.0))
    for kind in ("leases", "completions"):
        await bucket.put(f"records/{kind}/work", b'{"value": {"holder": "tw')

    async def work() -> int:
        return (await progress.completed("work", since=await progress.last("work"))).number

    assert await leases.run("work", work) is None
    clock.advance(60)
    assert await leases.run("work", work) == 1001
    assert await leases.run("work", work) == 1002


@pytest_twisted.ensureDeferred
async def test_a_put_that_is_made_again_meets_its_own_trace(servers: dict[str, str], threads: Threads) -> None:
    """It took effect though the store said 503: what it is refused for then is nobody else's."""
    proxy = FaultyProxy(reactor=reactor, target=urlsplit(servers["seaweedfs"]).port or 0)
    await proxy.start()
    store = s3_store(
        bucket=BUCKET,
        endpoint=f"http://127.0.0.1:{proxy.port}",
        prefix=uuid.uuid4().hex,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
    )
    records = ObjectStoreRecords(bucket=Bucket(store=store, threads=threads))
    version = None
    try:
        for number in range(2):
            proxy.change, proxy.once = (b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Slow Down"), True
            put = await records.put("name", {"n": number}, version=version)
            assert proxy.change is None
            assert await records.get("name") == put
            version = put.version
    finally:
        await proxy.stop()
