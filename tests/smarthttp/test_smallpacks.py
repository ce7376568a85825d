"""Small answers in one database: kept, found again, bounded, and never served when they are damaged."""

import sqlite3
from collections.abc import Callable, Coroutine
from hashlib import sha1
from pathlib import Path
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.pktline import FLUSH, encode_all
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import read_all
from cachew.smarthttp.answertable import DisposableAnswers
from cachew.smarthttp.packplaces import LARGEST, SmallPacks
from tests.fakes.clock import FakeClock
from tests.fakes.settled import value_of

T = TypeVar("T")
KEY, OTHER = "a" * 64, "b" * 64


def pack(content: bytes = b"x" * 100) -> bytes:
    data = b"PACK" + content
    return encode_all([b"packfile\n", b"\x01" + data + sha1(data).digest(), FLUSH])


class Threads:
    """Threads that don't wait, unless a test holds back what they return."""

    def __init__(self) -> None:
        self.asked = 0
        self.held: list[Deferred[None]] | None = None

    async def __call__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        returned = function(*args, **kwargs)
        if self.held is not None:
            self.held.append(Deferred())
            await self.held[-1]
        return returned


def result(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of work that doesn't wait."""
    return value_of(Deferred.fromCoroutine(work))


class Packs:
    """Small packs, asked by somebody who does not wait."""

    def __init__(self, path: Path, limit: int | None, on_damage: Callable[[], object]) -> None:
        self.clock, self.threads = FakeClock(), Threads()
        self.store = SmallPacks(path=path, limit=limit, threads=self.threads, clock=self.clock, on_damage=on_damage)
        result(self.store.open())

    @property
    def count(self) -> int:
        return self.store.count

    @property
    def size(self) -> int:
        return self.store.size

    def close(self) -> None:
        result(self.store.close())

    def get(self, key: str, now: float) -> bytes | None:
        self.clock.ahead = now
        found = result(self.store.get(key))
        return None if found is None else result(read_all(found, 1 << 20))

    def has(self, key: str) -> bool:
        return result(self.store.has(key))

    def shrink(self, size: int) -> None:
        result(self.store.shrink(size))

    def size_of(self, prefix: str) -> int:
        return result(self.store.size_of(prefix))

    def scrubbed(self) -> list[int]:
        """Return how much was read at a time."""
        read: list[int] = []

        async def pace(size: int) -> None:
            read.append(size)

        result(self.store.scrub(pace))
        return read


class Kept:
    """A database of small answers, and what it tells of damage."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "small" / "answers.sqlite"
        self._directory = directory
        self.damage: list[str] = []
        self.packs = self.opened()

    def opened(self, limit: int | None = None) -> Packs:
        return Packs(self.path, limit, lambda: self.damage.append("small"))

    def keep(self, key: str, answer: bytes, now: float = 1.0) -> bool:
        self.packs.clock.ahead = now
        spool = Spool(path=self._directory / "answer")
        spool.write(answer)
        spool.finish()
        kept = result(self.packs.store.keep(key, spool))
        spool.discard()
        return kept

    def reopen(self, limit: int | None = None) -> Packs:
        self.packs.close()
        self.packs = self.opened(limit)
        return self.packs


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_survives_a_restart(kept: Kept) -> None:
    """What was kept is found again, and counted; what wasn't is not."""
    assert kept.keep(KEY, pack())
    packs = kept.reopen()
    assert (packs.get(KEY, 2.0), packs.get(OTHER, 2.0)) == (pack(), None)
    assert (packs.has(KEY), packs.has(OTHER), packs.count, packs.size) == (True, False, 1, len(pack()))


def test_takes_whole_packs_only(kept: Kept) -> None:
    """What ends early is not kept."""
    assert not kept.keep(KEY, pack()[:-4])
    assert kept.packs.get(KEY, 1.0) is None and kept.packs.count == 0


def test_takes_small_packs_only(kept: Kept) -> None:
    """What is larger lies better in a file of its own."""
    assert not kept.keep(KEY, pack(b"x" * LARGEST)) and kept.packs.count == 0


def test_what_was_looked_for_in_vain_is_looked_for_once(kept: Kept) -> None:
    """Whoever finds nothing and has it made asks again before he does; that asks nobody until something is kept."""
    kept.keep(OTHER, pack())
    asked = kept.packs.threads.asked
    assert [kept.packs.get(KEY, 2.0) for _ in range(2)] == [None, None]
    assert kept.packs.threads.asked == asked + 1
    kept.keep(KEY, pack(b"kept"))
    assert kept.packs.get(KEY, 3.0) == pack(b"kept")


def test_what_is_kept_while_it_is_looked_for_is_found_by_the_next(kept: Kept) -> None:
    """A look that began before something was kept, and ends after, says nothing of what is there then."""
    kept.keep(OTHER, pack())
    held = kept.packs.threads.held = []
    looking = Deferred.fromCoroutine(kept.packs.store.get(KEY))
    kept.packs.threads.held = None
    kept.keep(KEY, pack())
    held[0].callback(None)
    assert value_of(looking) is None and kept.packs.get(KEY, 2.0) == pack()


def test_a_second_answer_takes_the_place_of_the_first(kept: Kept) -> None:
    """There is one answer a key, and one is counted."""
    kept.keep(KEY, pack(b"first"))
    kept.keep(KEY, pack(b"the second"))
    assert kept.packs.get(KEY, 1.0) == pack(b"the second")
    assert (kept.packs.count, kept.packs.size) == (1, len(pack(b"the second")))


def test_the_least_recently_used_go_first(kept: Kept) -> None:
    """Beyond the limit those go that nobody has asked for lately, with the space that they took."""
    packs = kept.reopen(limit=20 * len(pack()))
    for number in range(20):
        kept.keep(f"{number:064x}", pack(), now=float(number))
    assert packs.get(f"{0:064x}", 30.0) is not None
    kept.keep(KEY, pack(), now=31.0)
    assert packs.get(f"{0:064x}", 32.0) is not None and packs.get(f"{1:064x}", 32.0) is None
    assert packs.size <= 20 * len(pack()) and packs.count == packs.size // len(pack())
    packs.shrink(0)
    assert (packs.size, packs.count) == (0, 0)


def test_some_of_them_can_go(kept: Kept) -> None:
    """Those that are named, also with some that were never there."""
    kept.keep(KEY, pack())
    kept.keep(OTHER, pack(b"y"))
    result(kept.packs.store.drop([KEY, "c" * 64]))
    assert kept.packs.get(KEY, 1.0) is None and kept.packs.get(OTHER, 1.0) == pack(b"y")
    assert (kept.packs.count, kept.packs.size) == (1, len(pack(b"y")))


def test_what_has_gone_takes_no_room(kept: Kept) -> None:
    """The file is no larger than what is in it, at once and by whatever it was larger."""
    for number in range(60):
        kept.keep(f"{number:064x}", pack(b"x" * 20_000), now=float(number))
    kept.packs.shrink(20 * 20_000)
    sizes = [path.stat().st_size for path in kept.path.parent.glob(f"{kept.path.name}*")]
    assert kept.packs.size < sum(sizes) < 1.5 * kept.packs.size


def test_says_what_a_repository_s_answers_take(kept: Kept) -> None:
    """Keys begin with whose they are."""
    kept.keep("aa" * 32, pack())
    kept.keep("aa" + "bb" * 31, pack(b"y"))
    kept.keep("ab" * 32, pack())
    assert kept.packs.size_of("aa") == len(pack()) + len(pack(b"y"))
    assert kept.packs.size_of("cc") == 0


@pytest.mark.parametrize("scrubbed", [False, True])
def test_other_content_is_never_served(kept: Kept, scrubbed: bool) -> None:
    """An answer that is not what was written is dropped when it is asked for, or read through."""
    kept.keep(KEY, pack())
    kept.keep(OTHER, pack(b"sound"))
    kept.packs.close()
    with sqlite3.connect(kept.path) as database:
        database.execute("UPDATE answers SET answer = ? WHERE key = ?", (pack(b"other"), bytes.fromhex(KEY)))
    database.close()
    packs = kept.packs = kept.opened()
    if scrubbed:
        assert sum(packs.scrubbed())
        assert packs.count == 1
    assert packs.get(KEY, 2.0) is None and packs.get(OTHER, 2.0) == pack(b"sound")
    assert kept.damage == ["small"] and packs.count == 1


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_database_is_made_anew(kept: Kept, damage: bytes) -> None:
    """What is no database any more costs what was in it, and nothing else."""
    kept.keep(KEY, pack())
    kept.packs.close()
    kept.path.write_bytes(damage)
    packs = kept.packs = kept.opened()
    assert packs.get(KEY, 1.0) is None and packs.count == 0
    assert kept.keep(KEY, pack()) and packs.get(KEY, 2.0) == pack()


def test_a_database_that_is_damaged_meanwhile_is_made_anew(kept: Kept) -> None:
    """The server goes on, whatever becomes of the file under it."""
    for number in range(200):
        kept.keep(f"{number:064x}", pack(bytes([number]) * 10_000))
    packs = kept.reopen()
    kept.path.write_bytes(b"\xff" * kept.path.stat().st_size)
    assert packs.get(f"{7:064x}", 1.0) is None
    assert kept.keep(KEY, pack()) and packs.get(KEY, 2.0) == pack()
    assert kept.damage == ["small"]


def test_a_database_that_is_cut_short_meanwhile_is_made_anew(kept: Kept) -> None:
    """A file that loses its end doesn't end the server."""
    for number in range(200):
        kept.keep(f"{number:064x}", pack(bytes([number]) * 10_000))
    packs = kept.reopen()
    with kept.path.open("r+b") as file:
        file.truncate(8192)
    assert packs.get(f"{199:064x}", 1.0) is None
    assert kept.keep(KEY, pack()) and packs.get(KEY, 2.0) == pack()


def test_a_database_that_is_removed_under_the_server_is_made_anew(kept: Kept) -> None:
    """What is written to a removed file would be lost."""
    kept.keep(KEY, pack())
    for path in kept.path.parent.iterdir():
        path.unlink()
    kept.path.parent.rmdir()
    assert kept.keep(OTHER, pack())
    packs = kept.reopen()
    assert packs.get(OTHER, 1.0) == pack() and packs.count == 1


@pytest.mark.parametrize("opened", [True, False])
def test_a_directory_in_its_place_is_removed(kept: Kept, opened: bool) -> None:
    """Whoever has put one there, under a running server or before it starts, keeps no answer from being kept."""
    kept.packs.close()
    for path in kept.path.parent.iterdir():
        path.unlink()
    kept.path.mkdir()
    (kept.path / "something").touch()
    if not opened:
        kept.reopen()
    assert kept.keep(KEY, pack()) and kept.packs.get(KEY, 2.0) == pack()


def test_a_place_where_nothing_can_be_made(tmp_path: Path, told: list[str]) -> None:
    """A server starts and goes on without it, and says so once; it is there again as soon as that can be."""
    (tmp_path / "small").touch()
    kept = Kept(tmp_path)
    assert not kept.keep(KEY, pack()) and not kept.keep(OTHER, pack()) and kept.packs.get(KEY, 2.0) is None
    assert not kept.packs.has(KEY) and kept.packs.scrubbed() == [] and len(told) == 1
    (tmp_path / "small").unlink()
    assert kept.keep(KEY, pack()) and kept.packs.get(KEY, 2.0) == pack()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged as a warning."""
    found: list[str] = []

    class Log:
        def warn(self, text: str, **fields: object) -> None:
            found.append(text.format(**fields))

    monkeypatch.setattr(DisposableAnswers, "log", Log())
    return found
