"""The refs of a repository: how they are read, moved all at once, and kept alive when the upstream gave them up."""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from cachew.mirrors import branchfiles, packedrefs
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.gitwork import LISTING_LIMIT, QUICK, GitWork
from cachew.mirrors.history import History
from cachew.mirrors.refmarks import LeftRefs, RefMarks, marks_of
from cachew.mirrors.refs import (
    HIDDEN,
    Change,
    RefState,
    expired,
    hidden_name,
    is_outside,
    of_listing,
    packed_refs,
    update_script,
    valid_name,
)
from cachew.mirrors.reftree import loose_refs, read_refs
from cachew.plumbing.diskspace import content_of
from cachew.plumbing.errors import CorruptObject, ProcessFailed
from cachew.upstream.listing import Listing, RemoteRef, oid_width
from cachew.upstream.manyrefs import many_refs

P = ParamSpec("P")
T = TypeVar("T")

_MANY_REFS = 1000
"""From so many refs on they are written at once, not each into a file of its own."""
_BLANK = " \t\r\n"
_REF_FORMAT = "%(objectname) %(*objectname) %(refname)"
_UNPEELED_FORMAT = "%(objectname)  %(refname)"


class RefFiles:
    """The refs of one repository, and its HEAD.

    :param directory: the bare repository.
    :param object_format: ``sha1`` or ``sha256``.
    :param git: how to run git.
    :param work: where its commands run.
    :param history: what its commits reach.
    """

    def __init__(self, *, directory: Path, object_format: str, git: GitRunner, work: GitWork, history: History) -> None:
        self._directory = directory
        self._object_format = object_format
        self._git = git
        self._work = work
        self._history = history
        self._left = LeftRefs()
        self._marks: RefMarks | None = None
        """Those of the refs that :meth:`present` has returned."""

    async def write_new(self, listing: Listing) -> None:
        """Write the refs of a repository that has none yet."""
        await self._git.threads(lambda: (self._directory / "packed-refs").write_bytes(packed_refs(listing)))
        self._work.ledger.look_anew()
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
        branches = {oid for name, oid in change.updates.items() if name.startswith("refs/heads/")}
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

    async def _update(self, updates: Mapping[str, str], deletions: Collection[str]) -> None:
        if len(updates) + len(deletions) >= _MANY_REFS:
            done = await self._pack(updates, deletions)
            updates = {name: oid for name, oid in updates.items() if name not in done}
            deletions = [name for name in deletions if name not in done]
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
        for name, oid in refs.items():
            if oid not in types or (name.startswith("refs/heads/") and types[oid] != "commit"):
                raise ProcessFailed("git update-ref", 128, f"fatal: {name} can't be {types.get(oid, 'missing')} {oid}")
        async with self._work.writing():
            return await self._git.threads(packedrefs.rewrite, self._directory, refs, peeled, deletions=deletions)

    async def _types(self, oids: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the types of objects that are here, and what the tags among them lead to."""
        asked = list(oids)
        script = "".join(f"{oid}\n{oid}^{{}}\n" for oid in asked).encode()
        command = self._git.commands.git(self._directory, "cat-file", "--batch-check=%(objectname) %(objecttype)")
        done = await self._work.run(command, stdin=script, timeout=QUICK, limit=LISTING_LIMIT)
        lines = done.stdout.decode().split("\n")[:-1]
        types, peeled = {}, {}
        for oid, own, led in zip(asked, lines[::2], lines[1::2], strict=True):
            found, _, kind = own.partition(" ")
            if found == oid and kind != "missing":
                types[oid] = kind
                if kind == "tag" and not led.endswith(" missing"):
                    peeled[oid] = led.partition(" ")[0]
        return types, peeled

    async def read(self, *, peeled: bool = True, by_git: bool = False) -> Listing:
        """List the mirrored refs and HEAD as the upstream would.

        No process is needed for that, unless somebody has to say what annotated tags lead to that are no packed refs.

        :param peeled: whether it is asked what annotated tags lead to, for which git looks at every ref's object.
        :param by_git: whether git is asked in any case, which fails where it can't work with the repository.
        """
        listing = None if by_git else await self._seen(self.read_files, peeled=peeled)
        return await self._listed_by_git(peeled=peeled) if listing is None else listing

    async def _seen(self, look: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T | None:
        """Look at the files of refs; None when one of them is none, which is told."""
        try:
            return await self._git.threads(look, *arguments, **named)
        except CorruptObject as damage:
            self._work.met_damage(damage)
            return None

    async def present(self, known: RefState) -> RefState:
        """Return what the refs are: what is known, if they show that they are as this server has left them.

        Those that somebody else has written and that lead to nothing are deleted: git would fetch nothing beside them.
        """
        found = await self._found(known)
        return found if found is known or not known.refs else await self._without_lost(found, known)

    async def tell_of_damage(self) -> None:
        """Look at those refs that are files of their own, where all of them are too many to be read."""
        await self._seen(loose_refs, self._directory, _places(self._head()))

    async def _without_lost(self, found: RefState, known: RefState) -> RefState:
        lost = set(self._history.objects.missing(oid for oid in found.oids if oid not in known.oids))
        names = [name for name, oid in found.refs.items() if oid in lost]
        if not names:
            return found
        self._work.met_damage(CorruptObject(f"{names[0]} leads to an object that is not here"))
        self._marks = None
        with suppress(ProcessFailed):
            await self._update({}, names)
            return replace(found, refs={name: oid for name, oid in found.refs.items() if oid not in lost})
        return found

    async def _found(self, known: RefState) -> RefState:
        self._marks = None
        found, self._marks = await self._seen(self._look, known) or (None, None)
        return of_listing(await self._listed_by_git(peeled=False)) if found is None else found

    def _look(self, known: RefState) -> tuple[RefState | None, RefMarks | None]:
        marks = marks_of(self._directory, _places(self._head()))
        if marks is not None and self._left.are(known, marks):
            return known, marks
        listing = self.read_files(peeled=False)
        if listing is None:
            return None, None
        return of_listing(listing), marks if marks == marks_of(self._directory, _places(self._head())) else None

    def left(self, state: RefState, change: Change) -> None:
        """Take note that the refs are a state's, now that what :meth:`present` returned has been changed so."""
        self._left.note(state, None if self._marks is None else self._marks.after(change))
        self._marks = None

    def read_files(self, *, peeled: bool) -> Listing | None:
        """List the refs without a process (blocking); None when only git can tell.

        :raise CorruptObject: when a file is no ref.
        """
        head = self._head()
        refs = read_refs(self._directory, _places(head), peeled=peeled)
        return None if refs is None else self._listed(head, refs)

    async def _listed_by_git(self, *, peeled: bool) -> Listing:
        head = self._head()
        words = ("for-each-ref", f"--format={_REF_FORMAT if peeled else _UNPEELED_FORMAT}", *_places(head))
        return self._listed(head, tuple(_parse_ref(line) for line in _lines(await self._work.output(*words))))

    def _listed(self, head: RemoteRef, refs: tuple[RemoteRef, ...]) -> Listing:
        if head.symref_target is not None:
            found = next((ref for ref in refs if ref.name == head.symref_target), None)
            if found is not None:
                head = replace(head, oid=found.oid, peeled=found.peeled)
        return Listing(refs=many_refs((head, *refs), oid_width(self._object_format)), object_format=self._object_format)

    def _head(self) -> RemoteRef:
        text = content_of(f"{self._directory}/HEAD").decode(errors="surrogateescape").strip(_BLANK)
        if not text.startswith("ref:"):
            return RemoteRef(name="HEAD", oid=text, symref_target=None, peeled=None)
        return RemoteRef(name="HEAD", oid=None, symref_target=text.removeprefix("ref:").strip(_BLANK), peeled=None)

    async def expire(self, now: float, *, days: int) -> int:
        """Delete the hidden refs that are older than ``days`` days; return how many."""
        await self._seen(loose_refs, self._directory, [HIDDEN])
        output = await self._work.output("for-each-ref", "--format=%(refname)", HIDDEN)
        old = expired(_lines(output), now, days=days)
        if old:
            await self._update({}, old)
        return len(old)


def _places(head: RemoteRef) -> list[str]:
    """Return below which names the refs are that are listed."""
    outside = [head.symref_target] if head.symref_target and is_outside(head.symref_target) else []
    return ["refs/heads/", "refs/tags/", *outside]


def _lines(output: bytes) -> list[str]:
    """Split at newlines only: a ref's name may hold what Unicode takes for the end of a line."""
    return [line for line in output.decode(errors="surrogateescape").split("\n") if line]


def _parse_ref(line: str) -> RemoteRef:
    oid, peeled, name = line.split(" ", 2)
    return RemoteRef(name=name, oid=oid, symref_target=None, peeled=peeled or None)
