"""Records of a replica that is alone."""

import json
from collections.abc import Mapping
from typing import Any

from cachew.plumbing.errors import Conflict
from cachew.replicas.records import Versioned, record_name


class MemoryRecords:
    """Records in this process's memory."""

    def __init__(self) -> None:
        self._records: dict[str, tuple[str, int]] = {}
        self._puts = 0

    async def get(self, name: str) -> Versioned | None:
        """Return a record."""
        found = self._records.get(record_name(name))
        return None if found is None else Versioned(json.loads(found[0]), str(found[1]))

    async def put(self, name: str, value: Mapping[str, Any], *, version: str | None) -> Versioned:
        """Replace a record that nobody changed meanwhile."""
        present = self._records.get(record_name(name))
        if version != (None if present is None else str(present[1])):
            raise Conflict(f"the record {name} was changed meanwhile")
        self._puts += 1
        encoded = json.dumps(dict(value))
        self._records[name] = encoded, self._puts
        return Versioned(json.loads(encoded), str(self._puts))
