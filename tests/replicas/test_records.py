"""Shared records: the contract on every storage."""

import uuid
from typing import Any

import pytest
import pytest_twisted
from obstore.store import MemoryStore

from cachew.plumbing.bucket import Bucket, s3_store
from cachew.plumbing.errors import StorageUnavailable
from cachew.plumbing.threads import Threads
from cachew.replicas.interface import Records
from cachew.replicas.memory import MemoryRecords
from cachew.replicas.objectstore import ObjectStoreRecords
from tests.contracts.records import RecordsContract
from tests.fakes.objectservers import ACCESS_KEY, BUCKET, SECRET_KEY


@pytest.fixture(scope="module", autouse=True)
def server(seaweedfs: str) -> str:
    """Start the server before any test looks at what it leaves behind."""
    return seaweedfs


class TestMemory(RecordsContract):
    """Records in memory keep the contract."""

    @pytest.fixture
    def records(self) -> Records:
        """Return the records."""
        return MemoryRecords()


class TestObjectStore(RecordsContract):
    """Records in an object store keep the contract."""

    @pytest.fixture(params=["in memory", "seaweedfs"])
    def records(self, request: pytest.FixtureRequest, server: str, threads: Threads) -> Records:
        """Return the records."""
        raw: Any = MemoryStore()
        if request.param == "seaweedfs":
            raw = s3_store(
                bucket=BUCKET,
                endpoint=server,
                prefix=uuid.uuid4().hex,
                access_key=ACCESS_KEY,
                secret_key=SECRET_KEY,
            )
        return ObjectStoreRecords(bucket=Bucket(store=raw, threads=threads))


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("damaged", [b"rubbish", b"", b"[]", b"{}", b'{"value": 5}', b'{"value": null}'])
async def test_a_damaged_record_is_told(threads: Threads, damaged: bytes) -> None:
    """Something else in a record's place is a failure of the storage, not an empty record."""
    bucket = Bucket(store=MemoryStore(), threads=threads)
    await bucket.put("records/name", damaged)
    with pytest.raises(StorageUnavailable):
        await ObjectStoreRecords(bucket=bucket).get("name")
