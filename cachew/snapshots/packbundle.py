"""A mirror's only pack as a full bundle: a bundle is a header and a pack, so only the header has to be kept.

A pack can be sent so while it is all that the mirror has, and every ref is a branch or a tag: then the header promises
what the pack holds, and the pack holds nothing else (what was abandoned, or fetched by its id, is reached by hidden
refs). Packs never change; one that a repack has taken away ends the bundle. See gitformat-bundle(5).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from cachew.cache.interface import Entry, ObjectInfo
from cachew.mirrors.commands import GitCommands
from cachew.mirrors.instance import Instance
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.errors import CachewError
from cachew.plumbing.joinedsource import JoinedSource
from cachew.plumbing.process import Processes
from cachew.plumbing.streams import FileSource, Source, owned, read_all
from cachew.plumbing.threads import Threads, made_in_thread
from cachew.snapshots.sourcemirror import ReadyMirror

PACK_HEADER = "X-Cachew-Pack"
"""Stored with a header: the checksum of the pack that comes after it."""
_MOST_REFS = 10_000
_LONGEST_HEADER = _MOST_REFS * 4096
_QUICK = 120.0
_TOLD = ("refs/heads/", "refs/tags/")
_SIGNATURES = {"sha1": b"# v2 git bundle\n", "sha256": b"# v3 git bundle\n@object-format=sha256\n"}


@dataclass(frozen=True)
class Beginning:
    """What comes before a pack.

    :param pack: the pack's checksum, in hex.
    """

    header: bytes
    pack: str


class PackBundles:
    """Makes the headers, and puts the packs after them.

    :param processes: runs git.
    :param commands: makes git's argv and environment.
    :param threads: for looking at files.
    :param ready_mirror: gives the mirror whose pack is sent.
    :param shared: whether bundles are for other replicas too, which don't have this one's packs.
    """

    def __init__(
        self,
        *,
        processes: Processes,
        commands: GitCommands,
        threads: Threads,
        ready_mirror: ReadyMirror,
        shared: bool = False,
    ) -> None:
        self._processes, self._commands = processes, commands
        self._threads = threads
        self._ready_mirror = ready_mirror
        self._shared = shared

    async def beginning(self, mirror: Mirror, tips: Mapping[str, str]) -> Beginning | None:
        """Return what a bundle of all branches and tags begins with whose pack is the mirror's.

        :param tips: the branches that are to be in it, to their commits.
        :return: None when the mirror's pack can't be sent so.
        """
        if self._shared or len(mirror.refs.by_name) > _MOST_REFS:
            return None
        pack = await self._only_pack(mirror)
        if pack is None:
            return None
        refs = await self._refs(mirror)
        heads = {name: oid for name, oid in refs.items() if name.startswith("refs/heads/")}
        if heads != tips or not all(name.startswith(_TOLD) for name in refs):
            return None
        if await self._only_pack(mirror) != pack:
            return None
        lines = "".join(f"{oid} {name}\n" for name, oid in sorted(refs.items()))
        header = _SIGNATURES[mirror.refs.object_format] + lines.encode("utf-8", "surrogateescape") + b"\n"
        return Beginning(header, pack)

    async def _only_pack(self, mirror: Mirror) -> str | None:
        try:
            return await self._threads(only_pack, mirror.directory)
        except (OSError, ValueError):
            return None

    async def _refs(self, mirror: Mirror) -> dict[str, str]:
        """Return all refs as they are on disk, hidden ones too."""
        command = self._commands.git(mirror.directory, "for-each-ref", "--format=%(objectname) %(refname)")
        done = await self._processes.run(command, timeout=_QUICK, limit=_LONGEST_HEADER)
        lines = done.stdout.decode("utf-8", "surrogateescape").split("\n")
        return {name: oid for oid, _, name in (line.partition(" ") for line in lines) if name}

    async def whole(self, instance: Instance, entry: Entry) -> Entry | None:
        """Return a stored bundle with the mirror's pack, if it is stored without one.

        :param entry: what is stored; it is closed where it isn't what is returned.
        :return: None when its pack is gone.
        """
        pack = entry.info.headers.get(PACK_HEADER)
        if pack is None:
            return entry
        try:
            mirror = await self._ready_mirror(instance.identity)
            if mirror.instance != instance:
                return None
            header = await read_all(entry.source(), _LONGEST_HEADER)
            path = _path(mirror.directory, pack)
            file = await made_in_thread(self._threads, lambda: _opened(path, pack), give_up=_close)
        except (CachewError, OSError):
            return None
        finally:
            entry.close()
        return None if file is None else PackBundle(info=entry.info, header=header, file=file)


class PackBundle:
    """A header and a pack, as one object.

    :param info: the stored header's.
    :param file: the pack, which this owns.
    """

    def __init__(self, *, info: ObjectInfo, header: bytes, file: BinaryIO) -> None:
        self._header, self._file = header, file
        etag = sha256(header + info.headers[PACK_HEADER].encode()).hexdigest()
        headers = {name: value for name, value in info.headers.items() if name != PACK_HEADER}
        size = len(header) + os.fstat(file.fileno()).st_size
        self.info = replace(info, size=size, etag=etag, digest="", headers=headers)

    def source(self, offset: int = 0, length: int | None = None) -> Source:
        """Return a stream over a part of it."""
        rest = max(self.info.size - offset, 0)
        length = rest if length is None else min(length, rest)
        beginning = self._header[offset : offset + length]
        file = os.fdopen(os.dup(self._file.fileno()), "rb", buffering=0)
        return JoinedSource(beginning, FileSource(file, max(offset - len(self._header), 0), length - len(beginning)))

    def close(self) -> None:
        """Close the pack."""
        self._file.close()


def only_pack(directory: Path) -> str | None:
    """Return the checksum of a repository's pack if that is all it has of objects (blocking).

    :raise OSError: when that can't be read.
    :raise ValueError: when the pack isn't called by its checksum.
    """
    objects = directory / "objects"
    if (directory / "shallow").exists() or (objects / "info" / "alternates").exists():
        return None
    names = os.listdir(objects / "pack")
    packs = [name for name in names if name.endswith(".pack")]
    loose = any(len(place.name) == 2 and any(os.scandir(place)) for place in os.scandir(objects))
    if len(packs) != 1 or loose or any(name.endswith(".promisor") for name in names):
        return None
    pack = packs[0].removeprefix("pack-").removesuffix(".pack")
    file = _opened(_path(directory, pack), pack)
    _close(file)
    return None if file is None else pack


def _path(directory: Path, pack: str) -> Path:
    return directory / "objects" / "pack" / f"pack-{pack}.pack"


def _opened(path: Path, pack: str) -> BinaryIO | None:
    """Open a pack; None when it doesn't end with the checksum that it is called by."""
    file = path.open("rb", buffering=0)
    with owned(file):
        digest = bytes.fromhex(pack)
        if os.pread(file.fileno(), len(digest), os.fstat(file.fileno()).st_size - len(digest)) == digest:
            return file
    file.close()
    return None


def _close(file: BinaryIO | None) -> None:
    if file is not None:
        file.close()
