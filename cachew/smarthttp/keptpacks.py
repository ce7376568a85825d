"""Packs that are kept for whoever asks for the same again: within one bound, wherever they lie, and under which key.

An answer stays right for as long as the key says the same, whatever the mirror receives or loses meanwhile:

- the pack holds what the wants reach and the haves don't; haves are the client's own word, so it does not matter
  whether the mirror still has them, and a have that the mirror did not know made the pack larger, never wrong;
- an acknowledgment says that an object was common, and the next round names it again: a kept negotiation round can
  cost another round, never an object;
- ``include-tag`` adds the tags that point into the pack, ``deepen-not`` stops at refs, and ``sparse:oid`` may name its
  blob by a ref: these look at the refs, so the refs they look at are part of the key.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from cachew.mirrors.mirror import Mirror
from cachew.plumbing.diskspace import free_bytes
from cachew.plumbing.remembered import Remembered
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import BytesSource, FileSource
from cachew.plumbing.threads import InThread
from cachew.smarthttp.clientcommands import Fetch
from cachew.smarthttp.packstore import Pace, PackStore
from cachew.upstream.refviews import TipsByName

_TURNS = 2
"""Turns of the periodic look after which a pack goes that is not expected to be asked for again, and is not."""
_OWNER = 16
"""Digits of a key that tell whose it is; the others are enough to tell answers apart."""


class GivenUp:
    """Packs that nobody is expected to ask for again; whoever does has them kept for a while longer."""

    def __init__(self) -> None:
        self._turns: dict[str, int] = {}

    def add(self, keys: Iterable[str]) -> None:
        """Give some up."""
        self._turns |= dict.fromkeys(keys, 0)

    def asked(self, key: str) -> None:
        """Take notice that one is asked for."""
        if key in self._turns:
            self._turns[key] = 0

    def old(self) -> list[str]:
        """Return those that are to go, a turn having passed for all."""
        old = [key for key, turns in self._turns.items() if turns >= _TURNS]
        self._turns = {key: turns + 1 for key, turns in self._turns.items() if turns < _TURNS}
        return old


class KeptPacks:
    """The packs of all stores together.

    :param stores: where they lie. The first is looked into first, and is the first that gives way; the last is offered
        packs first.
    :param limit: bytes that they may take; None for no bound, 0 keeps none.
    :param directory: where packs are spooled.
    :param min_free: bytes that its file system must have left before anything is spooled there.
    :param threads: runs blocking work.
    :param free_space: bytes left on a directory's file system.
    """

    def __init__(
        self,
        *,
        stores: Sequence[PackStore],
        limit: int | None,
        directory: Path,
        min_free: int,
        threads: InThread,
        free_space: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._stores = stores
        self._limit = limit
        self._directory = directory
        self._min_free = min_free
        self._threads = threads
        self._free_space = free_space
        self.given_up = GivenUp()

    def __len__(self) -> int:
        return sum(store.count for store in self._stores)

    @property
    def size(self) -> int:
        """Bytes that they take."""
        return sum(store.size for store in self._stores)

    @property
    def limit(self) -> int:
        """Bytes that they may take, 0 for no bound."""
        return self._limit or 0

    async def open(self) -> None:
        """Take stock of what an earlier run has kept."""
        for store in self._stores:
            await store.open()
        await self._shrink(self._limit)

    async def close(self) -> None:
        """Write down what is to be known after a restart."""
        for store in self._stores:
            await store.close()

    async def get(self, key: str) -> FileSource | BytesSource | None:
        """Return a pack, or None; one that is damaged is removed and never returned."""
        self.given_up.asked(key)
        for store in self._stores:
            if (kept := await store.get(key)) is not None:
                return kept
        return None

    async def drop_given_up(self) -> None:
        """Drop the packs that were given up, and not asked for since, a while ago; called again and again."""
        old = self.given_up.old()
        for store in self._stores:
            await store.drop(old)

    async def get_file(self, key: str) -> FileSource | None:
        """Return a pack as :meth:`get` does, in a file, which a small one is written to for the purpose."""
        kept = await self.get(key)
        return FileSource(_in_memory(await kept.read(kept.length))) if isinstance(kept, BytesSource) else kept

    async def has(self, key: str) -> bool:
        """Say whether a pack is kept."""
        for store in self._stores:
            if await store.has(key):
                return True
        return False

    async def keep(self, key: str, spool: Spool, *, doubted: bool) -> None:
        """Keep what has been spooled, if it is a whole pack and no larger than all may be together.

        :param doubted: whether its pack is compared with the pack's own checksum first.
        :raise OSError: when it can't be kept.
        """
        if self._limit is not None and spool.size > self._limit:
            return
        for store in reversed(self._stores):
            if await store.keep(key, spool, doubted=doubted):
                await self._shrink(self._limit)
                return

    async def size_of(self, repository: str) -> int:
        """Return the bytes that the packs of a repository take."""
        owner = owner_key(repository)
        return sum([await store.size_of(owner) for store in self._stores])

    async def scrub(self, pace: Pace) -> None:
        """Read every pack through; what is damaged is dropped.

        :param pace: awaited after each with the bytes that were read.
        """
        for store in self._stores:
            await store.scrub(pace)

    async def make_room(self) -> bool:
        """Drop the least recently used until the file system has its floor; say whether it has."""
        if self._limit is not None and self._limit <= 0:
            return False
        free: int = await self._threads(self._free_space, self._directory)
        if free < self._min_free <= free + self.size:
            before = self.size
            await self._shrink(max(self.size - (self._min_free - free), 0))
            free += before - self.size
        return free >= self._min_free

    async def _shrink(self, size: int | None) -> None:
        """Drop packs until the rest takes no more than ``size`` bytes, None for no bound."""
        for store in self._stores:
            if size is not None and (excess := self.size - size) > 0:
                await store.shrink(max(store.size - excess, 0))


def _in_memory(data: bytes) -> BinaryIO:
    """Return a file that lies in memory."""
    file = os.fdopen(os.memfd_create("answer"), "w+b", buffering=0)
    file.write(data)
    return file


class MirrorKeys:
    """The keys of answers that mirrors give."""

    def __init__(self) -> None:
        self._marks: Remembered[str] = Remembered()

    def of(self, mirror: Mirror, command: Fetch) -> str:
        """Return the key of an answer, which is one of the mirror's instance and of its present packs."""

        def marks(prefix: str) -> str:
            state = mirror.refs.state
            return self._marks.of(state, prefix, lambda: mark(state.refs, prefix))

        return pack_key(f"{mirror.life.instance.name} {mirror.life.pack_source}", command, marks)


def pack_key(repository: str, command: Fetch, marks: Callable[[str], str]) -> str:
    """Return the key of a fetch's answer.

    ``agent`` and ``session-id`` don't count, nor does the order of the wants.

    :param repository: the repository's name, a space, and which of its mirrors; no two repositories share an answer.
    :param marks: gives :func:`mark` of the mirror's refs for a prefix; called only if the answer looks at refs.
    :return: 64 hex digits, of which the first are the repository's (:func:`owner_key`).
    """
    parts = [
        repository,
        f"v{command.version}",
        command.wanted,
        command.shape,
        *(f"refs {marks(prefix)}" for prefix in command.looks_at),
    ]
    digest = sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogateescape")
        digest.update(b"%d:%b" % (len(encoded), encoded))
    owner = owner_key(repository.partition(" ")[0])
    return owner + digest.hexdigest()[: -len(owner)]


def owner_key(repository: str) -> str:
    """Return what the keys of a repository's answers begin with, which tells how much is kept of it.

    :param repository: its name.
    """
    return sha256(repository.encode("utf-8", "surrogateescape")).hexdigest()[:_OWNER]


def mark(refs: Mapping[str, str], prefix: str) -> str:
    """Return a digest of the refs below a prefix."""
    digest = sha256()
    if isinstance(refs, TipsByName):
        for block in refs.many.within([prefix]).blocks:
            digest.update(block.digest)
        return digest.hexdigest()
    for name in sorted(refs):
        if name.startswith(prefix):
            digest.update(f"{refs[name]} {name}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
