"""Answers that upload-pack makes of mirrors: whose they are, and what it means when there are none; it is played."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.http.incoming import HeldBody
from cachew.mirrors.instance import Instance
from cachew.plumbing.errors import ProcessFailed
from cachew.smarthttp.mirrorpacks import MirrorPacks, MirrorRefused
from tests.fakes.closable import ClosableBytes
from tests.fakes.instances import only
from tests.fakes.mirrorgit import REPOSITORY
from tests.fakes.settled import failure_of, value_of


class World:
    """A mirror, and an upload-pack that says no, fails or answers as a test says."""

    def __init__(self) -> None:
        self.source = ClosableBytes(b"pack")
        self.refusing: Deferred[str | None] = Deferred()
        self.exit: Deferred[None] = Deferred()
        self.failed = False
        self.doubts: list[bool] = []
        self.asked: dict[str, Any] = {}
        self.life = SimpleNamespace(instance=only(REPOSITORY), generation="first")
        self.mirror = cast(
            Any,
            SimpleNamespace(identity=REPOSITORY, directory="/mirror", life=self.life, verification=self, objects=self),
        )
        self.packs = MirrorPacks(backend=cast(Any, self))
        self.packs.key = lambda mirror, command: "a" * 64

    def doubt(self, *, serving: bool) -> None:
        self.doubts.append(serving)

    async def upload_pack(self, **asked: Any) -> Any:
        self.asked = asked
        return SimpleNamespace(source=self.source, refusal=self._refusal, child=self)

    async def _refusal(self) -> str | None:
        return await self.refusing

    async def wait(self) -> None:
        await self.exit

    def follow_soon(self, oids: Sequence[str], others: Sequence[str]) -> bool:
        return max(oids) > max(others)

    def produce(self, *, cheap: bool = False, few: bool = False, had: Sequence[str] = ()) -> Deferred[Any]:
        command = cast(Any, SimpleNamespace(is_cheap=cheap, is_of_few=few, wants=("5",), had=had, may_have_shape=False))
        body = HeldBody(b"want", digest="digest")
        return Deferred.fromCoroutine(self.packs.produce(self.mirror, command, body, "version=2"))


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("cheap", [True, False])
def test_an_answer_is_the_mirror_s(world: World, cheap: bool) -> None:
    """Its maker is told what it costs; the answer is whoever's who has asked."""
    producing = world.produce(cheap=cheap)
    world.refusing.callback(None)
    assert value_of(producing) is world.source
    assert not world.source.closed
    assert (world.asked["long"], world.asked["search"]) == (not cheap, not cheap)
    assert (world.asked["length"], world.asked["protocol"]) == (4, "version=2")


@pytest.mark.parametrize(
    ("few", "had", "long"), [(True, ("4",), False), (False, ("4",), True), (True, ("6",), True), (True, (), True)]
)
def test_what_was_pushed_since_is_not_long_in_the_making(
    world: World, few: bool, had: Sequence[str], long: bool
) -> None:
    """Who has what few commits follow on waits behind nobody else's clone, but has deltas looked for all the same."""
    producing = world.produce(few=few, had=had)
    world.refusing.callback(None)
    value_of(producing)
    assert (world.asked["long"], world.asked["search"]) == (long, True)


def test_a_refusal_is_told_before_anything_is_sent(world: World) -> None:
    """Nothing stays open of it, and it says nothing of the mirror."""
    producing = world.produce()
    world.refusing.callback("not our ref")
    assert isinstance(error := failure_of(producing), MirrorRefused)
    assert str(error) == "not our ref"
    assert world.source.closed
    assert world.doubts == []


@pytest.mark.parametrize("field", ["instance", "generation"])
def test_a_mirror_that_was_replaced_meanwhile_gives_nothing(world: World, field: str) -> None:
    """Upload-pack may have opened the new one, which the asker has no right to."""
    producing = world.produce()
    setattr(world.life, field, Instance(REPOSITORY, "1" * 32) if field == "instance" else "second")
    world.refusing.callback(None)
    assert isinstance(failure_of(producing), MirrorRefused)
    assert world.source.closed


def test_who_leaves_before_the_answer_leaves_nothing_open(world: World) -> None:
    """It ends upload-pack."""
    producing = world.produce()
    producing.cancel()
    assert isinstance(failure_of(producing), CancelledError)
    assert world.source.closed


def test_a_failure_before_the_answer_is_told(world: World) -> None:
    """The upstream answers then."""
    producing = world.produce()
    world.refusing.errback(ProcessFailed("git upload-pack", 128, "it died"))
    assert isinstance(failure_of(producing), ProcessFailed)
    assert world.source.closed


@pytest.mark.parametrize("failed", [True, False])
def test_a_failure_within_the_answer_has_the_mirror_looked_at(world: World, failed: bool) -> None:
    """Whoever still wants the answer; it serves nobody meanwhile."""
    producing = world.produce()
    world.refusing.callback(None)
    value_of(producing)
    world.failed = failed
    world.source.close()
    world.exit.callback(None)
    assert world.doubts == ([False] if failed else [])
