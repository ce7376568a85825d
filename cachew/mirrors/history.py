"""What commits reach: whether two histories are one, and whether all of one is there."""

from collections.abc import Collection, Iterable
from contextlib import nullcontext
from pathlib import Path

from cachew.mirrors.fewrefs import few_refs
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.gitwork import LISTING_LIMIT, QUICK, GitWork
from cachew.mirrors.objectindex import ObjectIndex
from cachew.plumbing.errors import ProcessFailed, ProcessTimedOut, TooLarge

_FEW_REFS = 50
_JUST_BEFORE = 100
"""Commits among which the old tip of a branch is looked for without a process: so many a push has at most, mostly."""


class History:
    """What the commits of one repository reach.

    :param directory: the bare repository.
    :param objects: what is there.
    :param git: how to run git.
    :param work: where its commands run.
    :ivar objects: what is there.
    """

    def __init__(self, *, directory: Path, objects: ObjectIndex, git: GitRunner, work: GitWork) -> None:
        self._directory = directory
        self.objects = objects
        self._git = git
        self._work = work

    async def shared(self, oids: Iterable[str], present: Iterable[str]) -> bool:
        """Whether some of the objects, which are here, share history with heads and tags.

        Two commits that have an ancestor in common have its roots in common.

        :param present: what heads and tags have.
        :raise ProcessFailed: when that can't be told.
        """
        wanted, present = sorted(oids), set(present)
        if not present.isdisjoint(self.just_before(wanted)):
            return True
        if wanted and await self._meets(wanted[0], sorted(present)[:_FEW_REFS]):
            return True
        new = await self._roots("--stdin", stdin="".join(f"{oid}\n" for oid in wanted).encode())
        return bool(new) and not new.isdisjoint(await self._roots("--branches", "--tags"))

    def just_before(self, oids: Collection[str], sought: Collection[str] = ()) -> set[str]:
        """Return the last ancestors of commits, without a process; none where history is cut or there are too many.

        :param sought: those that matter: when all of them are among the first, the others are not looked at.
        """
        if len(oids) > _FEW_REFS or shallow_of(self._directory):
            return set()
        return self.objects.ancestors(oids, _JUST_BEFORE, sought)

    async def reached(self, passed: Collection[str], new: Collection[str]) -> set[str]:
        """Return those tips that branches moved on from and that the branches' new tips still reach.

        :param passed: the tips before.
        :param new: the new ones.
        """
        if not passed:
            return set()
        if self.just_before(new, passed).issuperset(passed):
            return set(passed)
        script = await self._git.threads(_between, passed, new)
        command = self._git.commands.git(self._directory, "rev-list", "--stdin")
        try:
            done = await self._work.run(command, stdin=script, timeout=QUICK, limit=LISTING_LIMIT)
        except (ProcessFailed, TooLarge):
            return set()
        return await self._git.threads(lambda: set(passed).difference(done.stdout.decode().split()))

    def are_commits(self, oids: Iterable[str]) -> bool:
        """Say whether objects are certainly commits, without a process."""
        return all(map(self.objects.is_commit, oids))

    async def _meets(self, oid: str, others: Iterable[str]) -> bool:
        """Whether a commit has an ancestor in common with others, which costs little where they are near."""
        command = self._git.commands.git(self._directory, "merge-base", oid, *others)
        done = await self._work.run(command, timeout=self._git.maintenance_timeout, check=False)
        return done.code == 0 and bool(done.stdout.strip())

    async def _roots(self, *words: str, stdin: bytes = b"") -> set[str]:
        command = self._git.commands.git(self._directory, "rev-list", "--max-parents=0", *words)
        seconds = self._git.maintenance_timeout
        done = await self._work.run(command, stdin=stdin, timeout=seconds, limit=LISTING_LIMIT)
        return set(done.stdout.decode().split())

    async def connected(self, oids: Iterable[str], near: Collection[str] = ()) -> bool:
        """Say whether everything is here that objects reach which are here themselves.

        A fetch that failed may have left the tip of a history without the rest.

        :param near: tips that have nearly all that is behind these; none where git looks at all refs there are.
        """
        script = "".join(f"{oid}\n" for oid in oids).encode()
        seconds = self._git.maintenance_timeout
        try:
            with few_refs(self._directory, near) if near else nullcontext(self._directory) as place:
                await self._git.processes.run(self._git.commands.connected(place), stdin=script, timeout=seconds)
        except ProcessFailed as error:
            if isinstance(error, ProcessTimedOut):
                raise
            return False
        return True


def _between(passed: Iterable[str], new: Iterable[str]) -> bytes:
    """Return what tells git to list what some commits reach and others don't."""
    return "".join([*(f"{oid}\n" for oid in passed), *(f"^{oid}\n" for oid in new)]).encode()


def shallow_of(directory: Path) -> tuple[str, ...]:
    """Return the ids of the commits whose parents are missing in a repository, as at the upstream."""
    try:
        return tuple((directory / "shallow").read_text("ascii").split())
    except FileNotFoundError:
        return ()
