"""The cache in memory."""

import pytest

from cachew.cache.memory import MemoryCache
from tests.contracts.cache import LIMIT, MAX_TTL, CacheContract, Subject
from tests.fakes.wallclock import WallClock


class TestMemory(CacheContract):
    """It keeps the contract."""

    @pytest.fixture
    def subject(self, clock: WallClock) -> Subject:
        """Return the cache."""
        return Subject(MemoryCache(limit=LIMIT, max_ttl=MAX_TTL, clock=clock), clock)
