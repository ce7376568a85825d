"""What is under way and what waits, told once each."""

from twisted.internet.defer import Deferred

from cachew.plumbing.background import Background
from cachew.plumbing.jobs import Slots
from cachew.web.currentwork import CurrentWork, WorkStatus
from tests.fakes.clock import FakeClock
from tests.fakes.settled import value_of

NOW = 1_800_000_000.0
REPOSITORY, OTHER = "git.example/org/repo", "git.example/org/other"


class Works:
    """A server with one place for serving, and one for fetches."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.serve, self.fetch = (Slots(limit=1, clock=self.clock) for _ in range(2))
        self.background = Background(clock=self.clock)
        self.gates: list[Deferred[None]] = []
        self.current = CurrentWork(
            places={"serve": self.serve, "fetch": self.fetch}, background=self.background, clock=self.clock
        )

    async def _in(self, slots: Slots, name: str) -> None:
        gate: Deferred[None] = Deferred()
        async with slots.take(name):
            self.gates.append(gate)
            await gate

    def serving(self, name: str) -> Deferred[None]:
        """Have a client served, or wait for its turn."""
        return Deferred.fromCoroutine(self._in(self.serve, name))

    def fetching(self, name: str) -> None:
        """Have a mirror fetch in the background."""
        self.background.start(self._in(self.fetch, name), f"fetch of {name}")

    def told(self) -> list[tuple[str, str, float, int, bool]]:
        """Return what is told: ages instead of moments."""
        now = self.clock.now()
        return [(one.kind, one.repository, now - one.began, one.count, one.waits) for one in self.current.pieces()]

    def end(self) -> None:
        """Let everything end, one after the other."""
        while self.gates:
            self.gates.pop(0).callback(None)


def test_an_idle_server_does_nothing() -> None:
    """There is nothing to tell."""
    works = Works()
    assert works.told() == [] and works.current.clients_waiting == 0


def test_clients_are_told_by_their_repository() -> None:
    """Those who are served and those who wait are counted apart, each with the age of the first."""
    works = Works()
    clients = [works.serving(REPOSITORY)]
    works.clock.advance(5)
    clients += [works.serving(REPOSITORY), works.serving(OTHER)]
    works.clock.advance(2)
    clients.append(works.serving(REPOSITORY))
    assert works.told() == [
        ("serve", REPOSITORY, 7.0, 1, False),
        ("serve", REPOSITORY, 2.0, 2, True),
        ("serve", OTHER, 2.0, 1, True),
    ]
    assert works.current.clients_waiting == 3
    works.end()
    for client in clients:
        value_of(client)
    assert works.told() == [] and works.current.clients_waiting == 0


def test_work_that_waits_for_its_turn_is_not_under_way_too() -> None:
    """A fetch in the background that has no place yet is told once, as waiting; then once, as what is done."""
    works = Works()
    works.fetching(REPOSITORY)
    works.clock.advance(3)
    works.fetching(OTHER)
    works.clock.advance(1)
    assert works.told() == [("fetch", REPOSITORY, 4.0, 1, False), ("fetch", OTHER, 1.0, 1, True)]
    works.gates.pop(0).callback(None)
    assert works.told() == [("fetch", OTHER, 1.0, 1, False)]
    works.end()
    assert works.told() == []


def test_work_for_no_repository_is_not_told() -> None:
    """Only what names one is shown beside repositories."""
    works, gate = Works(), Deferred[None]()

    async def counting() -> None:
        await gate

    for what in ("counting of the store", "look at the statelock", "snapshot of git.example/org/repo"):
        works.background.start(counting(), what)
    assert works.current.pieces() == [WorkStatus(kind="snapshot", repository=REPOSITORY, began=NOW)]
    gate.callback(None)


def test_a_clock_that_is_put_back_makes_nothing_older() -> None:
    """Ages are counted by time that only passes, and shown by the time of day."""
    works = Works()
    works.fetching(REPOSITORY)
    works.clock.advance(10)
    works.clock.put_forward(-3600)
    assert works.current.pieces()[0].began == works.clock.now() - 10
    works.end()
