"""Packs that are kept in files: found again, bounded, and never given out when they are damaged."""

from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.pktline import FLUSH, encode_all
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import read_all
from cachew.smarthttp.packplaces import PackDirectory
from tests.fakes.clock import FakeClock
from tests.fakes.settled import failure_of, result_of, value_of
from tests.fakes.systemlimits import no_descriptors

KEY, OTHER, THIRD = "a" * 64, "b" * 64, "c" * 64


def pack(content: bytes = b"x" * 1000) -> bytes:
    """Return an answer that carries a pack."""
    data = b"PACK" + content
    return encode_all([b"packfile\n", b"\x01" + data + sha1(data).digest(), FLUSH])


class World:
    """A directory of packs, and threads that a test may hold."""

    def __init__(self, directory: Path) -> None:
        self.path, self._directory = directory / "packs", directory
        self.gate: Deferred[None] | None = None
        self.damage = 0
        self.start()

    async def _thread(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if self.gate is not None:
            waiter: Deferred[None] = Deferred()
            self.gate.chainDeferred(waiter)
            await waiter
        return function(*args, **kwargs)

    def _on_damage(self) -> None:
        self.damage += 1

    def start(self) -> None:
        """Start, or start again."""
        self.packs = PackDirectory(path=self.path, threads=self._thread, clock=FakeClock(), on_damage=self._on_damage)
        result_of(self.packs.open())

    def keep(self, key: str = KEY, answer: bytes = pack()) -> bool:
        """Keep an answer."""
        spool = Spool(path=self._directory / "spool")
        spool.write(answer)
        spool.finish()
        kept = result_of(self.packs.keep(key, spool))
        spool.discard()
        return kept

    def get(self, key: str = KEY) -> bytes | None:
        found = result_of(self.packs.get(key))
        return None if found is None else result_of(read_all(found, 1 << 30))

    def spoil(self, key: str = KEY) -> None:
        """Change a byte of a pack's content."""
        path = self.path / f"{key}.pack"
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)

    @property
    def files(self) -> list[str]:
        return sorted(path.name[:1] for path in self.path.iterdir())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_kept_is_given_as_it_came(world: World, restarted: bool) -> None:
    """Also after a restart; of what is no whole pack nothing is kept."""
    assert world.keep()
    assert not world.keep(OTHER, pack()[:-10])
    if restarted:
        world.start()
    assert world.get() == pack()
    assert world.get(OTHER) is None
    assert (world.packs.count, world.files) == (1, ["a"])
    assert result_of(world.packs.has(KEY)) and not result_of(world.packs.has(OTHER))


@pytest.mark.parametrize("readers", [1, 3])
def test_damage_is_found_once_however_many_ask(world: World, readers: int) -> None:
    """It is read once after a restart, told of once, and removed."""
    world.keep()
    world.spoil()
    world.start()
    world.gate = Deferred()
    asked = [Deferred.fromCoroutine(world.packs.get(KEY)) for _ in range(readers)]
    world.gate.callback(None)
    assert [value_of(one) for one in asked] == [None] * readers
    assert world.damage == 1
    assert (world.packs.count, world.packs.size, world.files) == (0, 0, [])


def test_what_was_kept_meanwhile_does_not_go_with_what_was_damaged(world: World) -> None:
    """Whoever found the old one damaged has nothing to say of the new one."""
    world.keep()
    world.spoil()
    world.start()
    gate: Deferred[None] = Deferred()
    world.gate = gate
    asked = Deferred.fromCoroutine(world.packs.get(KEY))
    world.gate = None
    world.keep()
    world.spoil()
    gate.callback(None)
    assert value_of(asked) is None
    assert (world.packs.count, world.files) == (1, ["a"])


def test_what_is_kept_anew_while_its_file_is_being_removed_stays(world: World) -> None:
    """The file that goes has the same name."""
    world.keep()
    world.keep(OTHER)
    gate: Deferred[None] = Deferred()
    world.gate = gate
    dropped = Deferred.fromCoroutine(world.packs.drop([KEY, OTHER]))
    world.gate = None
    world.keep(KEY, pack(b"y" * 2000))
    gate.callback(None)
    value_of(dropped)
    assert world.get() == pack(b"y" * 2000)
    assert (world.packs.count, world.files) == (1, ["a"])


def test_a_machine_that_can_open_no_more_files_says_nothing_of_a_pack(world: World) -> None:
    """It stays, and whoever asks has it made or is told."""
    world.keep()
    for restarted in (False, True):
        if restarted:
            world.start()
        with no_descriptors():
            asked = Deferred.fromCoroutine(world.packs.get(KEY))
        assert isinstance(failure_of(asked), OSError)
        assert world.damage == 0
        assert world.get() == pack()


def test_a_file_that_is_gone_is_no_damage(world: World) -> None:
    """It is forgotten."""
    world.keep()
    (world.path / f"{KEY}.pack").unlink()
    assert world.get() is None
    assert (world.damage, world.packs.count, world.packs.size) == (0, 0, 0)


def test_the_least_recently_used_go_first(world: World) -> None:
    """As few as need be, and a use is one also across a restart."""
    for key in (KEY, OTHER, THIRD):
        world.keep(key)
    world.get(KEY)
    size = world.packs.size
    result_of(world.packs.shrink(size))
    assert world.packs.count == 3
    result_of(world.packs.shrink(size - 1))
    assert world.files == ["a", "c"]
    result_of(world.packs.shrink(0))
    assert (world.files, world.packs.size) == ([], 0)


def test_another_answer_under_the_same_key_takes_the_place_of_the_first(world: World) -> None:
    """It is counted once."""
    world.keep()
    size = world.packs.size
    world.keep(KEY, pack(b"y" * 2000))
    assert world.get() == pack(b"y" * 2000)
    assert (world.packs.count, world.packs.size) == (1, size + 1000)


def test_owners_are_told_apart(world: World) -> None:
    """By how their keys begin."""
    for key in (KEY, OTHER):
        world.keep(key)
    assert result_of(world.packs.size_of("aa")) == world.packs.size // 2
    assert result_of(world.packs.size_of("ac")) == 0


def test_a_scrub_reads_all_and_drops_what_is_damaged(world: World) -> None:
    """What goes while it reads is passed over."""
    for key in (KEY, OTHER, THIRD):
        world.keep(key)
    world.spoil(OTHER)
    read: list[int] = []

    async def pace(size: int) -> None:
        if not read:
            await world.packs.shrink(2 * size)  # takes the first away, which was just read
        read.append(size)

    result_of(world.packs.scrub(pace))
    assert len(read) == 3
    assert world.files == ["c"]
    assert world.damage == 1
