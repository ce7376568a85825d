"""Makes LFS snapshots: the LFS objects that HEAD's files point to, and no others.

Objects are fetched by git-lfs into a store beside the mirror, which spares those that were there before. What it
brought is believed only after its SHA-256 was computed. It runs in a repository of its own that borrows the mirror's
objects, because it writes into the configuration how a server wants to be logged in to.
"""

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from cachew.mirrors.commands import GitCommands
from cachew.plumbing import tarzst
from cachew.plumbing.errors import CorruptObject, NotFound
from cachew.plumbing.framewriter import FrameWriter, InThread
from cachew.plumbing.process import Command, Processes
from cachew.plumbing.streams import PIECE, BytesSource, Source
from cachew.snapshots import packed
from cachew.snapshots.mirror import Mirror
from cachew.snapshots.pointers import BatchScanner, Pointer, TreeScanner
from cachew.snapshots.production import Begin
from cachew.snapshots.store import ARCHIVE_TYPE, COMMIT_HEADER
from cachew.snapshots.variants import Variant

STORE = "lfs"
"""The directory in a mirror where its LFS objects are."""

Credentials = Callable[[Mirror], Awaitable[Mapping[str, str]]]
"""Gives what git's environment needs so that it may read a repository's upstream, and nothing else."""


class LfsMaker:
    """Makes archives of the kind ``lfs-snapshot``.

    :param processes: runs git and git-lfs.
    :param commands: makes their argv and environment.
    :param threads: where objects are verified and compressed.
    :param credentials: for the upstream.
    :param timeout: seconds that fetching may take.
    """

    def __init__(
        self,
        *,
        processes: Processes,
        commands: GitCommands,
        threads: InThread,
        credentials: Credentials,
        timeout: float = 1800.0,
    ) -> None:
        self._processes = processes
        self._commands = commands
        self._threads = threads
        self._credentials, self._timeout = credentials, timeout

    async def __call__(self, mirror: Mirror, variant: Variant, directory: Path, begin: Begin) -> None:
        """Make one.

        :raise NotFound: when HEAD has no LFS objects.
        :raise ProcessFailed: when they can't be fetched.
        :raise CorruptObject: when one isn't what its pointer says.
        """
        commit = mirror.head_commit
        pointers = [] if commit is None else await self._pointers(mirror.directory, commit)
        if commit is None or not pointers:
            raise NotFound(f"{mirror.identity.name} has no LFS objects")
        store = mirror.directory / STORE
        if await self._threads(_any_missing, store, pointers):
            borrowing = directory / "borrowing.git"
            await self._threads(_borrow, mirror.directory, borrowing, commit)
            await self._fetch(mirror, borrowing, store, commit)
        await self._threads(_link_verified, store, directory / STORE, pointers)
        sink = await begin({"Content-Type": ARCHIVE_TYPE, COMMIT_HEADER: commit})
        writer = FrameWriter(sink=sink, threads=self._threads)
        try:
            await writer.add(await self._threads(_segments, directory / STORE), tarzst.LEVEL)
            await writer.finish()
        finally:
            writer.abandon()
        await self._threads(_prune, store, pointers)

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

    async def _fetch(self, mirror: Mirror, borrowing: Path, store: Path, commit: str) -> None:
        # What the repository's own .lfsconfig says about addresses and errors has no say here.
        settings = {
            "lfs.url": f"{mirror.upstream_url.rstrip('/').removesuffix('.git')}.git/info/lfs",
            "lfs.storage": str(store),
            "lfs.basictransfersonly": "true",
            "lfs.skipdownloaderrors": "false",
            "lfs.locksverify": "false",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        words = (*options, "lfs", "fetch", "--include=", "--exclude=", "origin", commit)
        extra = await self._credentials(mirror)
        command = self._commands.git(borrowing, *words, extra=extra)
        await self._processes.run(command, timeout=self._timeout)


async def _pieces(processes: Processes, command: Command, stdin: Source | None = None) -> AsyncIterator[bytes]:
    child = processes.start(command, stdin=stdin)
    try:
        while piece := await child.stdout.read(PIECE):
            yield piece
    finally:
        child.stdout.close()
        await child.wait()


def _borrow(mirror: Path, repository: Path, commit: str) -> None:
    """Make a repository that has the objects of a mirror and nothing else of it but its configuration (blocking)."""
    (repository / "objects" / "info").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "objects" / "info" / "alternates").write_bytes(os.fsencode(mirror.absolute() / "objects") + b"\n")
    (repository / "config").write_bytes((mirror / "config").read_bytes())
    (repository / "HEAD").write_text(f"{commit}\n")
    packed.copy_cut(mirror, repository)


def _any_missing(store: Path, pointers: Iterable[Pointer]) -> bool:
    return not all((store / pointer.path).is_file() for pointer in pointers)


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
