"""Makes snapshots: the working tree of a mirror's branch with its ``.git``, as a compressed tar stream.

The clone is laid out beside the mirror with hard links to its objects, so nothing is copied, the mirror is held only
for a moment, and a repack meanwhile takes nothing away. While git writes the working tree the objects are on their way
already. What a repository contains (links, odd names, attributes) is handled by git and tar alone; the server opens
only files below ``.git/objects``.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from cachew.mirrors.commands import GitCommands
from cachew.mirrors.mirror import Mirror
from cachew.plumbing import tarzst
from cachew.plumbing.child import Command
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import NotCheckedOut, NotFound, ProcessFailed
from cachew.plumbing.framewriter import FrameWriter, Sink
from cachew.plumbing.process import Processes
from cachew.plumbing.streams import PIECE
from cachew.plumbing.threads import InThread
from cachew.snapshots import packed
from cachew.snapshots.layout import Clone, bare_files, git_files, parse_refs
from cachew.snapshots.tarend import TarEnd
from cachew.snapshots.variants import Variant

_QUICK = 120.0
_HEADS = "refs/heads/"
_CHECKOUT = ("-c", "index.version=2", "-c", "core.protectHFS=true", "-c", "core.protectNTFS=true")
"""A client on any system takes the snapshot, so no name may pass for ``.git`` on any file system."""
_LONGEST_NAME = 255
_LONGEST_PATH = 4000
_REFUSALS = re.compile(
    "invalid path|null sha1|malformed|unable to create symlink"
    "|File name too long|Is a directory|Not a directory|File exists"
)
_SERVERS_OWN = (".lock", ".keep", ".bitmap", "multi-pack-index", "alternates", ".mtimes")


@dataclass(frozen=True)
class Prepared:
    """A clone that has been laid out, without its working tree.

    :param root: the working tree to be; ``.git`` is in it.
    :param clone: what it is.
    """

    root: Path
    clone: Clone


class Archiver:
    """Makes snapshots of mirrors.

    :param processes: runs git and tar.
    :param commands: makes git's argv and environment.
    :param threads: where frames are compressed and files looked at.
    :param clock: what time it is.
    :param timeout: seconds that writing the working tree may take.
    """

    def __init__(
        self,
        *,
        processes: Processes,
        commands: GitCommands,
        threads: InThread,
        clock: Clock,
        timeout: float = 1800.0,
    ) -> None:
        self._processes = processes
        self._commands = commands
        self._threads = threads
        self._clock = clock
        self._timeout = timeout

    async def prepare(self, mirror: Mirror, variant: Variant, directory: Path) -> Prepared:
        """Lay a clone out.

        :param directory: an empty directory on the mirror's file system.
        :raise NotFound: when the branch has no commit.
        :raise NotCheckedOut: when git refuses to check it out.
        """
        root = directory / "tree"
        async with mirror.locks.exclusive():
            clone = await self._describe(mirror, variant)
            git_directory = directory / "source" if clone.filter else root / ".git"
            files = bare_files(clone) if clone.filter else git_files(clone)
            await self._threads(_lay_out, mirror, git_directory, files)
        what = f"{clone.commit} of {mirror.identity.name}"
        with _told(what):
            await self._fill_index(git_directory, root, clone.commit, what)
            if clone.filter:
                await self._clone_partially(git_directory, root, clone)
        return Prepared(root, clone)

    async def write(self, prepared: Prepared, sink: Sink) -> None:
        """Write the archive of a clone.

        :param sink: takes its bytes.
        :raise ProcessFailed: when git or tar fails.
        """
        writer = FrameWriter(sink=sink, threads=self._threads)
        checkout = Deferred.fromCoroutine(self._check_out(prepared))
        failed: list[Any] = []
        checkout.addErrback(failed.append)
        try:
            await self._write_objects(prepared, writer)
            await checkout
            if failed:
                failed[0].raiseException()
            await self._write_tree(prepared.root, writer)
            await writer.finish()
        finally:
            writer.abandon()
            checkout.cancel()
            await checkout

    async def _describe(self, mirror: Mirror, variant: Variant) -> Clone:
        words = ("for-each-ref", "--format=%(objectname) %(refname)", _HEADS, "refs/tags/")
        refs = parse_refs(await self._output(mirror.directory, *words))
        head = (await self._output(mirror.directory, "symbolic-ref", "-q", "HEAD", check=False)).rstrip("\n")
        wanted = variant.ref or head
        # HEAD may lead to a tag, or to a ref outside of heads and tags.
        verify = ("rev-parse", "-q", "--verify", f"{wanted or 'HEAD'}^{{commit}}")
        commit = (await self._output(mirror.directory, *verify, check=False)).rstrip("\n")
        if not commit:
            raise NotFound(f"{mirror.identity.name} has no commit on {wanted or 'HEAD'}: nothing to archive")
        return Clone(
            commit=commit,
            branch=wanted.removeprefix(_HEADS) if wanted.startswith(_HEADS) else "",
            default=head.removeprefix(_HEADS) if head.startswith(_HEADS) and head in refs else "",
            refs=refs,
            upstream_url=mirror.upstream_url,
            object_format=mirror.refs.object_format,
            # Git asks for ever for the parents of a shallow commit when it clones such a repository partially.
            filter="" if (mirror.directory / packed.SHALLOW).exists() else variant.filter,
            made=int(self._clock.now()),
        )

    async def _output(self, directory: Path, *words: str, check: bool = True) -> str:
        done = await self._processes.run(self._commands.git(directory, *words), timeout=_QUICK, check=check)
        return done.stdout.decode("utf-8", "surrogateescape")

    async def _clone_partially(self, source: Path, root: Path, clone: Clone) -> None:
        """Let git itself make the partial clone, HEAD's blobs included, and put our files in place of its own."""
        words = ["clone", "--quiet", "--no-local", "--template=", f"--filter={clone.filter}"]
        words += ["-c", "index.version=2", *(["--branch", clone.branch] if clone.branch else [])]
        extra = {"GIT_ALLOW_PROTOCOL": "file"}
        command = self._commands.git(None, *words, f"file://{source}", str(root), extra=extra)
        await self._processes.run(command, timeout=self._timeout)
        await self._threads(_replace_git_files, root / ".git", clone)

    async def _fill_index(self, git: Path, root: Path, commit: str, what: str) -> None:
        """Put a commit's files into the index, where git refuses what it would refuse to check out.

        This costs a tenth of a second for a hundred thousand files, and until it is done an answer can still be told.
        """
        place = (*_CHECKOUT, "-c", "core.bare=false", f"--work-tree={root}")
        await self._processes.run(self._commands.git(git, *place, "read-tree", commit), timeout=self._timeout)
        child = self._processes.start(self._commands.git(git, *place, "ls-files", "-z"))
        rest = b""
        try:
            while piece := await child.stdout.read(PIECE):
                *paths, rest = (rest + piece).split(b"\0")
                if any(_is_too_long(path) for path in paths):
                    raise NotCheckedOut(what, "File name too long")
        finally:
            child.stdout.close()
            await child.wait()

    async def _check_out(self, prepared: Prepared) -> None:
        if prepared.clone.filter:
            return
        options = (*_CHECKOUT, "-c", "checkout.workers=2", "-c", "core.attributesFile=/dev/null")
        words = (*options, f"--work-tree={prepared.root}", "read-tree", "--reset", "-u", prepared.clone.commit)
        with _told(prepared.clone.commit):
            await self._processes.run(self._commands.git(prepared.root / ".git", *words), timeout=self._timeout)

    async def _write_objects(self, prepared: Prepared, writer: FrameWriter) -> None:
        objects = prepared.root / ".git" / "objects"
        listed = await self._threads(_object_segments, objects)
        await writer.add(listed, tarzst.PACKED_LEVEL)

    async def _write_tree(self, root: Path, writer: FrameWriter) -> None:
        child, end = self._processes.start(tar_command(root, self._commands.environment()["PATH"])), TarEnd()
        try:
            while piece := await child.stdout.read(PIECE):
                await writer.write(end.feed(piece))
        finally:
            child.stdout.close()
            await child.wait()


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Tell git's refusal to check something out from its other failures."""
    try:
        yield
    except ProcessFailed as error:
        refusal = next((line for line in error.stderr.split("\n") if _REFUSALS.search(line)), None)
        if refusal is None:
            raise
        raise NotCheckedOut(what, refusal[:500].removeprefix("error: ").removeprefix("fatal: ")) from error


def _is_too_long(path: bytes) -> bool:
    return len(path) > _LONGEST_NAME and (
        len(path) > _LONGEST_PATH or any(len(name) > _LONGEST_NAME for name in path.split(b"/"))
    )


def tar_command(root: Path, path: str) -> Command:
    """Return the tar that writes everything but ``.git/objects``, in one order for one content."""
    options = ("--format=gnu", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+rw,go=rX")
    shape = ("--blocking-factor=512", "--hard-dereference", "--anchored", "--exclude=./.git/objects", "--file=-")
    argv = ("tar", f"--directory={root}", "--create", *options, *shape, ".")
    return Command(argv=argv, env={"PATH": path, "LC_ALL": "C"})


def _object_segments(objects: Path) -> list[tarzst.Segment]:
    return list(packed.segments(packed.members(objects, "./.git/objects")))


def _lay_out(mirror: Mirror, git: Path, files: Mapping[str, str]) -> None:
    with mirror.place.relinking():
        packed.link_tree(mirror.directory / "objects", git / "objects", skip=_SERVERS_OWN)
    _write_files(git, files)
    packed.copy_cut(mirror.directory, git)


def _write_files(git: Path, files: Mapping[str, str]) -> None:
    for directory in ("refs/heads", "refs/tags", "objects/pack", "objects/info"):
        (git / directory).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        file = git / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode("utf-8", "surrogateescape"))


def _replace_git_files(git: Path, clone: Clone) -> None:
    for reference in (*(git / "refs").rglob("*"), *(git / "logs").rglob("*"), git / "packed-refs"):
        if reference.is_file():
            reference.unlink()
    _write_files(git, git_files(clone))
