"""Who waits for whom while a repository is mirrored for the first time."""

from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.firstclones import Find, FirstClones
from cachew.mirrors.instance import Instance
from tests.fakes.clock import FakeClock
from tests.fakes.mirrorgit import REPOSITORY, oid
from tests.fakes.settled import value_of

INSTANCE = Instance(REPOSITORY, "1")
LISTED = frozenset({oid("1"), oid("2")})
FIND = cast(Find, object())


class Counter:
    """The clients of one repository on a clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.first = FirstClones(reactor=self.clock)

    def served(self) -> Deferred[None]:
        """Wait for them."""
        return Deferred.fromCoroutine(self.first.served(REPOSITORY))

    def received(self, instance: Instance = INSTANCE) -> Deferred[Any]:
        """Ask for what they received."""
        return Deferred.fromCoroutine(self.first.received(instance, LISTED))

    def began(self, *wants: str, whole: bool = True, find: Find = FIND) -> Any:
        """Begin to serve one."""
        return self.first.began(INSTANCE, wants if whole else None, find)


@pytest.fixture
def counter() -> Counter:
    """A repository that nobody has asked for."""
    return Counter()


def test_nobody_is_waited_for_who_has_not_asked(counter: Counter) -> None:
    """Without clients there is nothing to wait for, and nothing was received."""
    assert counter.served().called and value_of(counter.received()) == ()


def test_a_client_that_asks_for_refs_alone_is_waited_for_a_second(counter: Counter) -> None:
    """It may want objects next, or not."""
    counter.first.asked(REPOSITORY)
    served = counter.served()
    counter.clock.advance(0.9)
    counter.first.asked(REPOSITORY)
    counter.clock.advance(0.9)
    assert not served.called
    counter.clock.advance(0.1)
    assert served.called and len(counter.first) == 0


def test_those_who_keep_asking_for_refs_are_waited_for_a_second_once(counter: Counter) -> None:
    """Or a job that looks for something new twice a second would keep a mirror from being made for ever."""
    for _ in range(2):
        counter.first.asked(REPOSITORY)
    served = counter.served()
    for _ in range(2):
        counter.clock.advance(0.5)
        counter.first.asked(REPOSITORY)
    assert served.called


def test_those_who_keep_asking_are_waited_for_no_longer_because_they_are_told(counter: Counter) -> None:
    """Each of them is answered, and soon asks again."""
    for _ in range(2):
        counter.first.asked(REPOSITORY)
    served = counter.served()
    for _ in range(4):
        with counter.first.listing(REPOSITORY):
            counter.clock.advance(0.5)
            counter.first.asked(REPOSITORY)
    assert served.called


def test_a_client_is_waited_for_while_it_is_told_of_refs(counter: Counter) -> None:
    """A long listing takes a slow link for seconds, in which the mirror's own would halve what is left for it."""
    counter.first.asked(REPOSITORY)
    served = counter.served()
    with counter.first.listing(REPOSITORY):
        counter.clock.pump([1.0] * 30)
        assert not served.called
    counter.clock.advance(0.9)
    assert not served.called
    counter.clock.advance(0.1)
    assert served.called and len(counter.first) == 0


def test_clients_that_begin_together_are_waited_for_together(counter: Counter) -> None:
    """Those of a job that starts in many places ask as often at once as one that keeps asking."""
    for _ in range(20):
        counter.first.asked(REPOSITORY)
    served = counter.served()
    counter.clock.advance(0.9)
    with counter.first.listing(REPOSITORY):
        counter.clock.advance(30)
        assert not served.called
    counter.clock.advance(1)
    assert served.called and len(counter.first) == 0


def test_one_who_asks_for_objects_after_a_long_listing_is_served_first(counter: Counter) -> None:
    """The mirror is made of what it receives."""
    counter.first.asked(REPOSITORY)
    served = counter.served()
    with counter.first.listing(REPOSITORY):
        counter.clock.advance(30)
    client = counter.began(oid("1"))
    counter.clock.advance(2.9)
    assert not served.called
    client.ended()
    assert served.called and value_of(counter.received()) == [FIND]


def test_a_listing_that_fails_ends_the_wait_a_second_later(counter: Counter) -> None:
    """However it ends."""
    counter.first.asked(REPOSITORY)
    served = counter.served()
    with pytest.raises(OSError), counter.first.listing(REPOSITORY):
        raise OSError
    counter.clock.advance(1)
    assert served.called and len(counter.first) == 0


def test_a_listing_of_what_nobody_waits_for_is_not_remembered(counter: Counter) -> None:
    """As when the mirror is there, or the client wants refs only."""
    with counter.first.listing(REPOSITORY):
        assert len(counter.first) == 0
    assert len(counter.first) == 0 and not counter.clock.getDelayedCalls()


def test_a_client_is_served_first(counter: Counter) -> None:
    """However long that takes; then what it received is there once, with all of it."""
    counter.first.asked(REPOSITORY)
    served = counter.served()
    client = counter.began(oid("1"), oid("2"))
    for _ in range(100):
        client.moved()
        counter.clock.advance(2.9)
    assert not served.called
    client.ended()
    client.ended()
    assert value_of(counter.received()) == [FIND]
    assert served.called and len(counter.first) == 0


def test_what_was_received_is_given_out_once(counter: Counter) -> None:
    """To the mirror of the same instance, and only if the server itself was listed all of it."""
    counter.began(oid("1")).ended()
    counter.began(oid("3")).ended()
    assert value_of(counter.received()) == [FIND]
    assert value_of(counter.received()) == () and len(counter.first) == 0
    counter.began(oid("1")).ended()
    assert value_of(counter.received(Instance(REPOSITORY, "2"))) == []


def test_a_crowd_is_not_waited_for(counter: Counter) -> None:
    """When a second client wants something else, the mirror is made at once: it will serve the third."""
    one = counter.began(whole=False)
    served = counter.served()
    assert not served.called
    two = counter.began(whole=False)
    assert served.called
    one.ended()
    two.ended()
    assert len(counter.first) == 0


def test_who_waits_may_leave(counter: Counter) -> None:
    """Those who are broken off leave nothing behind."""
    client = counter.began(oid("1"))
    for waiting in (counter.served(), counter.received()):
        waiting.addErrback(lambda failure: None)
        waiting.cancel()
    client.ended()
    assert value_of(counter.received()) == [FIND] and len(counter.first) == 0


def test_what_stalls_is_not_waited_for(counter: Counter) -> None:
    """When nothing has come for three seconds the mirror is made by itself; before the first byte that takes longer."""
    client = counter.began(oid("1"))
    served, received = counter.served(), counter.received()
    counter.clock.pump([1.0] * 59)
    assert not served.called and not received.called
    client.moved()
    counter.clock.pump([1.0] * 2)
    assert not served.called and not received.called
    counter.clock.advance(1)
    assert served.called and value_of(received) == []
    client.ended()


def test_a_client_that_wants_no_objects_is_not_waited_for(counter: Counter) -> None:
    """As soon as that is known the mirror is made, unless another one has asked for refs as well."""
    for others, goes_on in ((0, True), (1, False)):
        for _ in range(2 + others):
            counter.first.asked(REPOSITORY)
        served = counter.served()
        counter.first.only_listed(REPOSITORY)
        assert served.called is goes_on
        counter.clock.advance(1.0)
        assert served.called and len(counter.first) == 0
    counter.first.only_listed(REPOSITORY)


def test_what_holds_the_most_comes_first(counter: Counter) -> None:
    """A clone of one branch that was served beside one of all adds nothing to what that received."""
    all_of_it = cast(Find, object())
    clients = [counter.began(oid("1")), counter.began(oid("1"), oid("2"), find=all_of_it)]
    for client in clients:
        client.ended()
    assert value_of(counter.received()) == [all_of_it, FIND]


def test_a_repository_that_is_never_mirrored_is_no_store_of_what_was_received(counter: Counter) -> None:
    """Some packs are remembered, however many are received; those that were made for the most are among them."""
    finds = [cast(Find, object()) for _ in range(30)]
    for number, find in enumerate(finds):
        counter.began(*([oid("1"), oid("2")] if number == 3 else [oid("1")]), find=find).ended()
    assert value_of(counter.received()) == [finds[3], *finds[15:]]
