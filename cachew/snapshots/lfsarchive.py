"""Makes LFS snapshots: the LFS objects that the files of HEAD, or of another branch, point to, and no others.

Objects are downloaded into a store in the mirror, which spares those that were there before. What is in it is believed
only after its SHA-256 was computed. What the repository's own ``.lfsconfig`` says has no say here.
"""

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from cachew.mirrors.commands import GitCommands
from cachew.mirrors.mirror import Mirror
from cachew.plumbing import tarzst
from cachew.plumbing.child import Command
from cachew.plumbing.diskspace import free_bytes
from cachew.plumbing.errors import CorruptObject, NotFound, StorageFull, UpstreamTimeout
from cachew.plumbing.framewriter import FrameWriter
from cachew.plumbing.process import Processes
from cachew.plumbing.streams import PIECE, BytesSource, Source
from cachew.plumbing.threads import InThread
from cachew.snapshots import packed
from cachew.snapshots.bundle import tip_of
from cachew.snapshots.order import Begin
from cachew.snapshots.pointers import BatchScanner, Pointer, TreeScanner
from cachew.snapshots.store import ARCHIVE_TYPE, COMMIT_HEADER
from cachew.snapshots.variants import Variant
from cachew.upstream.lfsbatch import WantedObject
from cachew.upstream.lfsdownloads import Keep, LfsDownloads

STORE = "lfs"
"""The directory in a mirror where its LFS objects are."""

_FETCHED = "fetched"
_ASIDE = "incoming-"


class LfsMaker:
    """Makes archives of the kind ``lfs-snapshot``.

    :param processes: runs git.
    :param commands: makes its argv and environment.
    :param threads: where objects are verified and compressed.
    :param downloads: brings objects.
    :param reactor: ends a fetching that takes longer than ``timeout`` seconds.
    """

    def __init__(
        self,
        *,
        processes: Processes,
        commands: GitCommands,
        threads: InThread,
        downloads: LfsDownloads,
        reactor: IReactorTime,
        timeout: float = 1800.0,
    ) -> None:
        self._processes = processes
        self._commands = commands
        self._threads = threads
        self._downloads = downloads
        self._reactor, self._timeout = reactor, timeout

    async def __call__(self, mirror: Mirror, variant: Variant, directory: Path, begin: Begin) -> None:
        """Make one.

        :raise NotFound: when the branch is not there, or has no LFS objects.
        :raise StorageFull: when they don't fit on the disk.
        :raise UpstreamError: when they aren't to be had.
        :raise CorruptObject: when one isn't what its pointer says.
        """
        commit = tip_of(mirror, variant.ref)
        pointers = [] if commit is None else await self._pointers(mirror.directory, commit)
        if commit is None or not pointers:
            raise NotFound(f"{mirror.identity.name} has no LFS objects")
        store = await self._store(mirror, variant, directory, pointers)
        await self._fetch(mirror, store, pointers)
        await self._threads(_link_verified, store, directory / STORE, pointers)
        sink = await begin({"Content-Type": ARCHIVE_TYPE, COMMIT_HEADER: commit})
        writer = FrameWriter(sink=sink, threads=self._threads)
        try:
            await writer.add(await self._threads(_segments, directory / STORE), tarzst.LEVEL)
            await writer.finish()
        finally:
            writer.abandon()
        if not variant.ref:
            await self._threads(_prune, store, pointers)

    async def _store(self, mirror: Mirror, variant: Variant, directory: Path, pointers: Iterable[Pointer]) -> Path:
        """Return where objects are downloaded to: HEAD's are kept in the mirror, those of other branches are not."""
        own = mirror.directory / STORE
        if not variant.ref:
            return own
        await self._threads(_link_known, own, directory / _FETCHED, pointers)
        return directory / _FETCHED

    async def _pointers(self, directory: Path, commit: str) -> list[Pointer]:
        tree, candidates = TreeScanner(), dict[str, None]()
        async for piece in _pieces(self._processes, self._commands.git(directory, "ls-tree", "-r", "-l", "-z", commit)):
            candidates.update(dict.fromkeys(tree.feed(piece)))
        batch, found = BatchScanner(), set[Pointer]()
        script = BytesSource("".join(f"{oid}\n" for oid in candidates).encode())
        command = self._commands.git(directory, "cat-file", "--batch", "--buffer")
        async for piece in _pieces(self._processes, command, script):
            found.update(batch.feed(piece))
        return sorted(found)

    async def _fetch(self, mirror: Mirror, store: Path, pointers: Iterable[Pointer]) -> None:
        missing = await self._threads(_missing, store, pointers)
        if not missing:
            return
        if sum(pointer.size for pointer in missing) > await self._threads(free_bytes, store):
            raise StorageFull(f"there is no room for the LFS objects of {mirror.identity.name}")
        paths = {WantedObject(pointer.oid, pointer.size): store / pointer.path for pointer in missing}
        work = Deferred.fromCoroutine(self._downloads.fetch(mirror.identity, list(paths), _keep_at(paths)))
        work.addTimeout(self._timeout, self._reactor, lambda *_: self._too_slow(mirror))
        await work

    def _too_slow(self, mirror: Mirror) -> NoReturn:
        what = f"did not send its LFS objects within {self._timeout:.0f} seconds"
        raise UpstreamTimeout(mirror.upstream_url, what)


def _keep_at(paths: Mapping[WantedObject, Path]) -> Keep:
    """Return what writes objects aside and renames them to their places."""

    async def keep(wanted: WantedObject, source: Source) -> None:
        path = paths[wanted]
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{_ASIDE}{wanted.oid}")
        try:
            with aside.open("wb", buffering=0) as file:
                while piece := await source.read(PIECE):
                    file.write(piece)
            aside.rename(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise

    return keep


async def _pieces(processes: Processes, command: Command, stdin: Source | None = None) -> AsyncIterator[bytes]:
    child = processes.start(command, stdin=stdin)
    try:
        while piece := await child.stdout.read(PIECE):
            yield piece
    finally:
        child.stdout.close()
        await child.wait()


def _missing(store: Path, pointers: Iterable[Pointer]) -> list[Pointer]:
    return [pointer for pointer in pointers if not (store / pointer.path).is_file()]


def _link_verified(store: Path, target: Path, pointers: Iterable[Pointer]) -> None:
    """Link the objects to a directory of their own, each after its content was verified; a bad one is removed."""
    for pointer in pointers:
        path = store / pointer.path
        linked = target / pointer.path
        linked.parent.mkdir(parents=True, exist_ok=True)
        linked.hardlink_to(path)
        if linked.stat().st_size != pointer.size or _digest(linked) != pointer.oid:
            path.unlink(missing_ok=True)
            raise CorruptObject(f"the LFS object {pointer.oid} is not what its pointer says")


def _link_known(store: Path, target: Path, pointers: Iterable[Pointer]) -> None:
    """Link those objects that are there."""
    for pointer in pointers:
        linked = target / pointer.path
        linked.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            linked.hardlink_to(store / pointer.path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _segments(directory: Path) -> list[tarzst.Segment]:
    return [*packed.segments(packed.members(directory, "./lfs")), packed.END]


def _prune(store: Path, pointers: Iterable[Pointer]) -> None:
    """Remove what HEAD no longer has, and what a broken fetch left."""
    kept = {pointer.oid for pointer in pointers}
    for member in packed.members(store, "."):
        if member.path.name not in kept:
            member.path.unlink(missing_ok=True)
