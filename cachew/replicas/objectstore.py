"""Records that replicas share, in an object store with conditional puts (S3 and what speaks its protocol)."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from cachew.plumbing.bucket import Bucket
from cachew.plumbing.errors import StorageUnavailable
from cachew.replicas.interface import Versioned
from cachew.replicas.naming import record_name

_FOLDER = "records"


class ObjectStoreRecords:
    """See the module.

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
        try:
            return Versioned(dict(json.loads(data)["value"]), version)
        except (ValueError, KeyError, TypeError) as error:
            raise StorageUnavailable(f"the record {name} is damaged") from error

    async def put(self, name: str, value: Mapping[str, Any], *, version: str | None) -> Versioned:
        """Replace a record that nobody changed meanwhile."""
        # Versions are digests of the content: without something new in it, A, B, A would look as if nothing happened.
        data = json.dumps({"value": dict(value), "nonce": uuid.uuid4().hex}).encode()
        return Versioned(dict(value), await self._bucket.put_if(f"{_FOLDER}/{record_name(name)}", data, version))
