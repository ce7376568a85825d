"""Where one mirror lies: its directory, the record in it, and the repository that is there."""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirrorrecord import RECORD, MirrorRecord, read
from cachew.mirrors.mirrorroot import MirrorRoot
from cachew.mirrors.repository import Repository
from cachew.plumbing.errors import CorruptObject, NotFound, ProcessFailed
from cachew.upstream.remotes import Remote


class MirrorPlace:
    """The place of one mirror on disk.

    :param identity: the repository that is mirrored.
    :param directory: where it is once it is ready.
    :param root: where new ones are made, and what is no longer wanted is removed.
    :param remote: its upstream, which its configuration names.
    :param git: how to run git.
    :param failed: told when git fails there, whatever the reason may be, and of damage that is met with.
    :ivar found: the repository that is there, None while there is none.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        directory: Path,
        root: MirrorRoot,
        remote: Remote,
        git: GitRunner,
        failed: Callable[[ProcessFailed | CorruptObject], object],
    ) -> None:
        self._identity = identity
        self.directory = directory
        self._root = root
        self._remote = remote
        self._git = git
        self._failed = failed
        self.found: Repository | None = None

    @property
    def upstream_url(self) -> str:
        """The upstream's URL: what clients know as ``origin``."""
        return self._remote.url

    @property
    def repository(self) -> Repository:
        """The repository that is there.

        :raise NotFound: while there is none.
        """
        if self.found is None:
            raise NotFound(f"{self._identity.name} is not mirrored")
        return self.found

    def opened(self, object_format: str) -> Repository:
        """Return the repository that lies there."""
        return Repository(directory=self.directory, object_format=object_format, git=self._git, failed=self._failed)

    def aside(self) -> Path:
        """Return a new path that nothing else uses."""
        return self._root.aside / f"{uuid.uuid4().hex}.git"

    def settle(self, made: Path, record: MirrorRecord) -> None:
        """Put a mirror that was made aside into its place; what was there takes its own.

        :raise NotFound: when another repository's mirror is there, as where a file system ignores case.
        """
        there = read(self.directory)
        if there is not None and there.identity != self._identity:
            raise NotFound(f"{self._identity.name} can't be mirrored: its directory is that of {there.identity.name}")
        record.write(made)
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        in_the_way = self.aside()
        with contextlib.suppress(FileNotFoundError):
            self.directory.rename(in_the_way)
        made.rename(self.directory)
        with contextlib.suppress(FileNotFoundError):
            in_the_way.rename(made)

    def touch(self) -> None:
        """Write down that something has been fetched just now."""
        (self.directory / RECORD).touch()

    @contextlib.contextmanager
    def relinking(self) -> Iterator[None]:
        """Make or remove links to its files while the block runs (blocking), which is no change of theirs."""
        if self.found is None:
            yield
            return
        with self.found.ledger.relinking():
            yield

    def close(self) -> None:
        """Keep none of its files open."""
        if self.found is not None:
            self.found.objects.close()

    def let_go(self) -> Repository | None:
        """Know of no repository there any more; return the one that was."""
        repository, self.found = self.found, None
        return repository

    async def discard(self) -> None:
        """Remove what is there."""
        doomed = self.aside()
        doomed.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.directory.rename(doomed)
        await self._git.threads(self._root.remove, doomed)
