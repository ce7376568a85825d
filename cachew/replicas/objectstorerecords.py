"""Records that replicas share, in an object store with conditional puts (S3 and what speaks its protocol)."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from cachew.plumbing.bucket import Bucket
from cachew.plumbing.errors import Conflict
from cachew.replicas.records import Versioned, record_name

_FOLDER = "records"


class ObjectStoreRecords:
    """Records that replicas share, as objects that are changed by compare-and-swap.

    :param bucket: where they lie.
    """

    def __init__(self, *, bucket: Bucket) -> None:
        self._bucket = bucket

    async def get(self, name: str) -> Versioned | None:
        """Return a record."""
        found = await self._bucket.get(f"{_FOLDER}/{record_name(name)}")
        if found is None:
            return None
        data, version = found
        return Versioned(_fields(data), version)

    async def put(self, name: str, value: Mapping[str, Any], *, version: str | None) -> Versioned:
        """Replace a record that nobody changed meanwhile."""
        # Versions are digests of the content: without something new in it, A, B, A would look as if nothing happened.
        data = json.dumps({"value": dict(value), "nonce": uuid.uuid4().hex}).encode()
        path = f"{_FOLDER}/{record_name(name)}"
        try:
            return Versioned(dict(value), await self._bucket.put_if(path, data, version))
        except Conflict:
            # A request that is made again because its answer was lost meets what it has done itself.
            found = await self._bucket.get(path)
            if found is None or found[0] != data:
                raise
            return Versioned(dict(value), found[1])


def _fields(data: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(data)["value"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
