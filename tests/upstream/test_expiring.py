"""Things remembered for a while."""

from twisted.internet.task import Clock

from cachew.upstream.expiring import Expiring


def test_expires() -> None:
    """A value is there until its time is over."""
    clock = Clock()
    memory: Expiring[str, int] = Expiring(seconds=clock.seconds, capacity=9)
    memory.put("a", 1, 5)
    clock.advance(4.9)
    assert memory.get("a") == 1
    clock.advance(0.1)
    assert memory.get("a") is None


def test_bounded() -> None:
    """Past the capacity the longest unused goes, and what has expired goes by the way."""
    clock = Clock()
    memory: Expiring[str, int] = Expiring(seconds=clock.seconds, capacity=2)
    for name in "ab":
        memory.put(name, 1, 5)
    memory.get("a")
    memory.put("c", 1, 9)
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == (1, None, 1)
    clock.advance(6)
    memory.put("d", 1, 5)
    assert len(memory) == 2
