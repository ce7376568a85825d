"""Git at work on a mirror for bundles: what one would hold, and the writing of one."""

from collections.abc import Sequence

from cachew.mirrors.commands import GitCommands
from cachew.mirrors.instance import Instance
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.process import Processes
from cachew.plumbing.streams import PIECE, BytesSource
from cachew.snapshots import packed
from cachew.snapshots.order import Begin
from cachew.snapshots.sourcemirror import require

BUNDLE_TYPE = "application/x-git-bundle"
_QUICK = 120.0


class BundleCommands:
    """Runs git.

    Revisions are names of refs, and commits that are left out, each after a ``^``.

    :param processes: runs git.
    :param commands: makes git's argv and environment.
    """

    def __init__(self, *, processes: Processes, commands: GitCommands) -> None:
        self._processes = processes
        self._commands = commands

    async def write(self, mirror: Mirror, instance: Instance, revisions: Sequence[str], begin: Begin) -> None:
        """Write a bundle.

        :param instance: of which repository it is to be.
        """
        command = self._commands.git(mirror.directory, "bundle", "create", "--quiet", "-", "--stdin")
        child = self._processes.start(command, stdin=BytesSource(_script(revisions)))
        try:
            piece = await child.stdout.read(PIECE)
            # Git has opened the repository by now, so it was this one's.
            require(mirror, instance)
            sink = await begin({"Content-Type": BUNDLE_TYPE})
            while piece:
                await sink(piece)
                piece = await child.stdout.read(PIECE)
        finally:
            child.stdout.close()
            await child.wait()

    async def holds_anything(self, mirror: Mirror, revisions: Sequence[str]) -> bool:
        """Say whether a bundle would hold a commit: git makes no empty one."""
        command = self._commands.git(mirror.directory, "rev-list", "--max-count=1", "--stdin")
        return bool((await self._processes.run(command, stdin=_script(revisions), timeout=_QUICK)).stdout)

    async def is_cut(self, mirror: Mirror, revisions: Sequence[str]) -> bool:
        """Say whether a bundle would hold a commit whose parents are missing: git makes such ones and rejects them."""
        try:
            cut = set((mirror.directory / packed.SHALLOW).read_bytes().split())
        except FileNotFoundError:
            return False
        # To git, a commit whose parents are missing has none; a whole history of names would hold everybody up.
        command = self._commands.git(mirror.directory, "rev-list", "--max-parents=0", "--stdin")
        done = await self._processes.run(command, stdin=_script(revisions), timeout=_QUICK)
        return not cut.isdisjoint(done.stdout.split())

    async def head_names(self, mirror: Mirror) -> list[str]:
        """Return ``HEAD`` and the branch that it names, if it names one."""
        command = self._commands.git(mirror.directory, "symbolic-ref", "-q", "HEAD")
        done = await self._processes.run(command, timeout=_QUICK, check=False)
        branch = done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")
        return ["HEAD", branch] if branch else ["HEAD"]

    async def knows(self, mirror: Mirror, commit: str) -> bool:
        """Say whether a mirror has a commit."""
        return await self._succeeds(mirror, "cat-file", "-e", f"{commit}^{{commit}}")

    async def contains(self, mirror: Mirror, base: str, tip: str) -> bool:
        """Say whether ``tip`` is part of the history of ``base``."""
        return await self._succeeds(mirror, "merge-base", "--is-ancestor", tip, base)

    async def _succeeds(self, mirror: Mirror, *words: str) -> bool:
        done = await self._processes.run(self._commands.git(mirror.directory, *words), timeout=_QUICK, check=False)
        return done.code == 0


def _script(revisions: Sequence[str]) -> bytes:
    return "\n".join((*revisions, "")).encode("utf-8", "surrogateescape")
