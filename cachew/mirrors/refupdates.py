"""How the refs of a repository move: all at once, and so that what the upstream gave up stays alive for a while."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from cachew.mirrors import branchfiles, packedrefs
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.gitwork import LISTING_LIMIT, QUICK, GitWork
from cachew.mirrors.history import History
from cachew.mirrors.refs import Change, hidden_name, of_listing, packed_refs, update_script, valid_name
from cachew.plumbing.errors import ProcessFailed
from cachew.upstream.listing import Listing

_MANY_REFS = 1000
"""From so many refs on they are written at once, not each into a file of its own."""


class RefUpdates:
    """Moves the refs of one repository, and its HEAD.

    :param directory: the bare repository.
    :param git: how to run git.
    :param work: where its commands run.
    :param history: what its commits reach.
    """

    def __init__(self, *, directory: Path, git: GitRunner, work: GitWork, history: History) -> None:
        self._directory = directory
        self._git = git
        self._work = work
        self._history = history

    async def write_new(self, listing: Listing) -> None:
        """Write the refs of a repository that has none yet."""
        await self._git.threads(lambda: (self._directory / "packed-refs").write_bytes(packed_refs(listing)))
        self._work.ledger.plain_files.accept()
        head = of_listing(listing).head
        if head:
            await self.set_head(head)

    async def set_head(self, head: str) -> None:
        """Point HEAD at a ref or an object; a ref name that git would not take is left alone."""
        if head.startswith("refs/") and not valid_name(head):
            return
        await self._work.write(self._git.commands.set_head(self._directory, head), seconds=QUICK)

    async def apply(self, change: Change, now: float) -> None:
        """Bring the refs to where ``change`` says; what loses its ref is kept under a hidden one."""
        # An upstream that is pushed to all day would otherwise leave a hidden ref for every push.
        many = len(change.updates) >= _MANY_REFS
        branches = await self._git.threads(_branches_in, change) if many else _branches_in(change)
        reached = await self._history.reached(change.passed, branches)
        hidden = {hidden_name(oid, now): oid for oid in change.abandoned if oid not in reached}
        if change.deletions:
            # First, so that ``a`` can give way to ``a/b``; git does not do that in one transaction.
            await self._update(hidden, change.deletions)
            hidden = {}
        if change.updates or hidden:
            await self._update({**hidden, **change.updates}, ())
        if change.head:
            await self.set_head(change.head)

    async def keep(self, oids: Iterable[str], now: float) -> None:
        """Keep objects alive under hidden refs."""
        await self._update({hidden_name(oid, now): oid for oid in oids}, ())

    async def delete(self, names: Collection[str]) -> None:
        """Delete refs, whatever they lead to."""
        await self._update({}, names)

    async def _update(self, updates: Mapping[str, str], deletions: Collection[str]) -> None:
        if len(updates) + len(deletions) >= _MANY_REFS:
            done = await self._pack(updates, deletions)
            updates, deletions = await self._git.threads(_left, updates, deletions, done)
        script = update_script(updates, deletions)
        if script and (deletions or not await self._moved(updates)):
            await self._work.write(self._git.commands.update_refs(self._directory), seconds=QUICK, stdin=script)

    async def _moved(self, branches: Mapping[str, str]) -> bool:
        """Move branches without a process, if these are a few, each to a commit; say whether they are where they go."""
        few = len(branches) <= branchfiles.MOST and all(name.startswith(branchfiles.BRANCHES) for name in branches)
        if not few or not self._history.are_commits(branches.values()):
            return False
        async with self._work.writing():
            return await self._git.threads(branchfiles.move, self._directory, branches)

    async def _pack(self, refs: Mapping[str, str], deletions: Collection[str]) -> set[str]:
        """Write and delete very many refs at once.

        :return: the names of those that are done; the others are loose refs.
        :raise ProcessFailed: when one of them can't name what it should, as git would refuse it.
        """
        types, peeled = await self._types(set(refs.values())) if refs else ({}, {})
        await self._git.threads(_require_possible, refs, types)
        async with self._work.writing():
            return await self._git.threads(packedrefs.rewrite, self._directory, refs, peeled, deletions=deletions)

    async def _types(self, oids: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the types of objects that are here, and what the tags among them lead to."""
        asked = list(oids)
        script = await self._git.threads(lambda: "".join(f"{oid}\n{oid}^{{}}\n" for oid in asked).encode())
        command = self._git.commands.git(self._directory, "cat-file", "--batch-check=%(objectname) %(objecttype)")
        done = await self._work.run(command, stdin=script, timeout=QUICK, limit=LISTING_LIMIT)
        return await self._git.threads(_types_told, asked, done.stdout)


def _branches_in(change: Change) -> set[str]:
    """Return what branches move to."""
    return {oid for name, oid in change.updates.items() if name.startswith("refs/heads/")}


def _left(
    updates: Mapping[str, str], deletions: Collection[str], done: Collection[str]
) -> tuple[Mapping[str, str], Collection[str]]:
    """Return what of a step is left when some refs are where they should be."""
    left = {name: oid for name, oid in updates.items() if name not in done}
    return left, [name for name in deletions if name not in done]


def _types_told(asked: Iterable[str], told: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Read what git has told of some objects and of what they lead to."""
    lines = told.decode().split("\n")[:-1]
    types, peeled = {}, {}
    for oid, own, led in zip(asked, lines[::2], lines[1::2], strict=True):
        found, _, kind = own.partition(" ")
        if found == oid and kind != "missing":
            types[oid] = kind
            if kind == "tag" and not led.endswith(" missing"):
                peeled[oid] = led.partition(" ")[0]
    return types, peeled


def _require_possible(refs: Mapping[str, str], types: Mapping[str, str]) -> None:
    """See that each ref may lead to the object that it is to have.

    :raise ProcessFailed: otherwise, as git would refuse it.
    """
    for name, oid in refs.items():
        if oid not in types or (name.startswith("refs/heads/") and types[oid] != "commit"):
            raise ProcessFailed("git update-ref", 128, f"fatal: {name} can't be {types.get(oid, 'missing')} {oid}")
