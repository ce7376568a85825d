"""Mirror snapshots: a whole bare mirror as an archive, and a mirror out of one.

A replica that has no mirror starts from what another one has made instead of from the upstream. Both sides verify: what
does not verify is never stored, and what was stored and does not verify is thrown away. Of an archive only objects,
refs and HEAD are taken, by names that are known; configuration and hooks are always our own.
"""

import re
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import zstandard
from twisted.logger import Logger

from cachew.cache.interface import Cache, Entry
from cachew.mirrors.commands import GitCommands, config_text
from cachew.mirrors.gitfailures import run_check
from cachew.mirrors.instance import Instance
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.repositorypacks import pack_indexes
from cachew.plumbing import tarzst
from cachew.plumbing.errors import Busy, CachewError, CorruptObject, NotFound, ProcessTimedOut, StorageUnavailable
from cachew.plumbing.framewriter import FrameWriter
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.process import Processes
from cachew.plumbing.streams import PIECE
from cachew.plumbing.threads import InThread
from cachew.snapshots import packed
from cachew.snapshots.layout import packed_refs, parse_refs
from cachew.snapshots.order import Begin
from cachew.snapshots.packed import Member
from cachew.snapshots.store import ARCHIVE_TYPE, REFS_HEADER
from cachew.snapshots.upkeep import refs_mark
from cachew.snapshots.variants import MIRROR, NAMESPACE, Variant

FORMAT_HEADER = "X-Cachew-Object-Format"
_QUICK = 120.0
_LEFT_OUT = (".lock", ".keep", "alternates")
_TAKEN = re.compile(
    r"\./(HEAD|packed-refs|shallow|objects/(pack|info|info/commit-graphs|[0-9a-f]{2})/"
    r"(?!http-alternates|alternates)[A-Za-z0-9_][A-Za-z0-9._-]*)"
)


class MirrorCheck:
    """Says whether a bare repository is whole.

    :param processes: runs git.
    :param commands: makes git's argv and environment.
    :param timeout: seconds that each check may take.
    """

    def __init__(self, *, processes: Processes, commands: GitCommands, timeout: float = 3600.0) -> None:
        self._processes = processes
        self._commands = commands
        self._timeout = timeout

    async def verify(self, directory: Path) -> None:
        """Check every pack's content, and that whatever the refs reach is there.

        :raise ProcessFailed: when it is not whole.
        """
        for command in self._commands.upkeep.check(directory, pack_indexes(directory)):
            await run_check(self._processes, command, self._timeout)

    async def output(self, directory: Path, *words: str) -> str:
        """Run a quick git command and return what it says."""
        done = await self._processes.run(self._commands.git(directory, *words), timeout=_QUICK)
        return done.stdout.decode("utf-8", "surrogateescape")


class MirrorMaker:
    """Makes archives of the kind ``mirror``.

    :param check: verifies them before anything is stored.
    :param threads: where files are looked at and compressed.
    """

    def __init__(self, *, check: MirrorCheck, threads: InThread) -> None:
        self._check, self._threads = check, threads

    async def __call__(self, mirror: Mirror, variant: Variant, directory: Path, begin: Begin) -> None:
        """Make one.

        :raise NotFound: when the mirror has no refs.
        :raise ProcessFailed: when the mirror is not whole.
        """
        copy = directory / "mirror.git"
        async with mirror.locks.exclusive():
            words = ("for-each-ref", "--format=%(objectname) %(refname)")
            refs = parse_refs(await self._check.output(mirror.directory, *words))
            if not refs:
                raise NotFound(f"{mirror.identity.name} has no refs")
            mark = refs_mark(mirror.refs.by_name)
            await self._threads(_copy, mirror, copy, refs)
        await self._check.verify(copy)
        sink = await begin({"Content-Type": ARCHIVE_TYPE, REFS_HEADER: mark, FORMAT_HEADER: mirror.refs.object_format})
        writer = FrameWriter(sink=sink, threads=self._threads)
        try:
            await writer.add(await self._threads(_segments, copy), tarzst.PACKED_LEVEL)
            await writer.finish()
        finally:
            writer.abandon()


class Seeder:
    """Makes mirrors out of mirror snapshots.

    :param cache: where these are.
    :param check: verifies what was restored.
    :param threads: for unpacking.
    :param metrics: counts how it went.
    """

    log = Logger()

    def __init__(self, *, cache: Cache, check: MirrorCheck, threads: InThread, metrics: Metrics) -> None:
        self._cache = cache
        self._check = check
        self._threads = threads
        self._metrics = metrics

    async def restore(self, instance: Instance, directory: Path) -> bool:
        """Fill a directory, which must not exist yet, with a verified bare repository.

        :return: whether it could be; otherwise there is no directory.
        """
        key = Variant(MIRROR).key(instance)
        entry = await self._cache.open(NAMESPACE, key)
        if entry is None:
            return False
        outcome = "failed"
        try:
            await self._unpack(entry, directory)
            await self._check.verify(directory)
            outcome = "restored"
        except (Busy, ProcessTimedOut, StorageUnavailable, OSError) as error:
            # This says nothing about the snapshot, so another replica may still use it.
            self.log.warn("{repository} could not be restored: {error}", repository=instance.identity.name, error=error)
        except (CachewError, EOFError, ValueError, tarfile.TarError, zstandard.ZstdError) as error:
            outcome = "discarded"
            self.log.warn(
                "mirror snapshot of {repository} discarded: {error}", repository=instance.identity.name, error=error
            )
            await self._cache.delete(NAMESPACE, key)
        finally:
            entry.close()
            if outcome != "restored":
                await self._threads(shutil.rmtree, directory, ignore_errors=True)
        self._metrics.mirror_seeds.labels(outcome).inc()
        return outcome == "restored"

    async def _unpack(self, entry: Entry, directory: Path) -> None:
        await self._threads(directory.mkdir, parents=True)
        archive, source = directory / "archive", entry.source()
        try:
            with archive.open("xb") as file:
                while piece := await source.read(PIECE):
                    await self._threads(file.write, piece)
        finally:
            source.close()
        if archive.stat().st_size != entry.info.size:
            raise CorruptObject("a mirror snapshot is shorter than announced")
        await self._threads(unpack, archive, directory, entry.info.headers.get(FORMAT_HEADER, "sha1"))


def unpack(archive: Path, directory: Path, object_format: str) -> None:
    """Unpack a mirror snapshot and remove it (blocking).

    :raise CorruptObject: when it holds anything but regular files under the names of a mirror's objects and refs.
    """
    if object_format not in ("sha1", "sha256"):
        raise CorruptObject("a mirror snapshot is of an unknown object format")
    with archive.open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        with tarfile.open(fileobj=stream, mode="r|") as members:
            for member in members:
                if not member.isreg() or not _TAKEN.fullmatch(member.name):
                    raise CorruptObject("a mirror snapshot holds something that is no part of a mirror")
                content = members.extractfile(member)
                if content is not None:
                    _write(directory / member.name, content, member.size)
    archive.unlink()
    for name in ("objects/pack", "objects/info", "refs/heads"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / "config").write_text(config_text(_configuration(object_format)))


def _write(path: Path, content: IO[bytes], size: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    except (FileExistsError, NotADirectoryError) as error:
        raise CorruptObject("a mirror snapshot holds two things of one name") from error
    with file:
        shutil.copyfileobj(content, file, PIECE)
        if file.tell() != size:
            raise CorruptObject("a mirror snapshot ends early")


def _configuration(object_format: str) -> dict[str, str]:
    values = {"core.repositoryformatversion": "0" if object_format == "sha1" else "1", "core.bare": "true"}
    return values if object_format == "sha1" else values | {"extensions.objectFormat": object_format}


def _copy(mirror: Mirror, copy: Path, refs: Mapping[str, str]) -> None:
    with mirror.place.relinking():
        packed.link_tree(mirror.directory / "objects", copy / "objects", skip=_LEFT_OUT)
    (copy / "refs").mkdir()
    (copy / "HEAD").write_bytes((mirror.directory / "HEAD").read_bytes())
    (copy / "packed-refs").write_bytes(packed_refs(refs).encode("utf-8", "surrogateescape"))
    packed.copy_cut(mirror.directory, copy)
    (copy / "config").write_text(config_text(_configuration(mirror.refs.object_format)))


def _segments(copy: Path) -> list[tarzst.Segment]:
    own = [Member(f"./{name}", copy / name) for name in ("HEAD", "packed-refs", packed.SHALLOW)]
    own = [member for member in own if member.path.exists()]
    return [*packed.segments([*own, *packed.members(copy / "objects", "./objects")]), packed.END]
