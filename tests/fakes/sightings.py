"""What other replicas saw, without replicas."""

from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import StorageUnavailable
from cachew.upstream.replica_verdicts import Elsewhere


class FakeSightings:
    """Moments in a dictionary, and a storage that may fail."""

    def __init__(self) -> None:
        self.moments: dict[str, float] = {}
        self.looks = 0
        self.down = False

    async def last(self, name: str) -> float | None:
        """Return a moment."""
        self.looks += 1
        self._fail()
        return self.moments.get(name)

    async def seen(self, name: str, at: float) -> None:
        """Keep a moment."""
        self._fail()
        self.moments[name] = max(at, self.moments.get(name, at))

    async def void(self, name: str) -> None:
        """Forget a moment."""
        self._fail()
        self.moments.pop(name, None)

    def _fail(self) -> None:
        if self.down:
            raise StorageUnavailable("the records can't be reached")


def alone(clock: Clock) -> Elsewhere:
    """Return what a replica knows of others that has none."""
    return Elsewhere(sightings=FakeSightings(), clock=clock, grace=3600, background=Background())
