"""Shared records that fail at a test's command."""

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from cachew.plumbing.errors import StorageUnavailable
from cachew.replicas.records import Records, Versioned


class UnreliableRecords:
    """Passes everything on, unless ``down`` or ``hanging``; with ``lost_answers`` a put takes effect and fails.

    When it is ``silent``, nobody is told what there is. When it is ``read_only``, nothing is put.

    ``before_answer`` is called when a put has taken effect.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self.down = self.hanging = self.silent = self.read_only = False
        self.lost_answers = 0
        self.before_answer: Callable[[], object] = lambda: None

    async def get(self, name: str) -> Versioned | None:
        """Get."""
        if self.silent:
            await Deferred[None]()
        if self.down:
            raise StorageUnavailable("down")
        return await self.records.get(name)

    async def put(self, name: str, value: Mapping[str, Any], *, version: str | None) -> Versioned:
        """Put."""
        if self.hanging:
            await Deferred[None]()
        if self.down:
            raise StorageUnavailable("down")
        if self.read_only:
            raise StorageUnavailable("read only")
        stored = await self.records.put(name, value, version=version)
        self.before_answer()
        if self.lost_answers:
            self.lost_answers -= 1
            raise StorageUnavailable("the answer was lost")
        return stored
