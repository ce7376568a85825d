"""The refs of a repository as they lie on disk: what they are, and whether this server has left them so."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from cachew.mirrors.gitwork import GitWork
from cachew.mirrors.objectindex import ObjectIndex
from cachew.mirrors.refmarks import LeftRefs, RefMarks, marks_of
from cachew.mirrors.refs import HIDDEN, Change, RefState, expired, is_outside, of_listing
from cachew.mirrors.reftree import loose_refs, read_refs
from cachew.mirrors.refupdates import RefUpdates
from cachew.plumbing.diskspace import content_of
from cachew.plumbing.errors import CorruptObject, ProcessFailed
from cachew.plumbing.threads import Threads
from cachew.upstream.listing import Listing, RemoteRef, oid_width
from cachew.upstream.manyrefs import many_refs

P = ParamSpec("P")
T = TypeVar("T")

_MOST_LOOKED_AT = 2000
_BLANK = " \t\r\n"
_REF_FORMAT = "%(objectname) %(*objectname) %(refname)"
_UNPEELED_FORMAT = "%(objectname)  %(refname)"


class RefFiles:
    """The refs of one repository, and its HEAD.

    :param directory: the bare repository.
    :param object_format: ``sha1`` or ``sha256``.
    :param threads: for looking at files.
    :param work: git at work on it.
    :param objects: what is there.
    :param updates: deletes those that are to be no more.
    """

    def __init__(
        self,
        *,
        directory: Path,
        object_format: str,
        threads: Threads,
        work: GitWork,
        objects: ObjectIndex,
        updates: RefUpdates,
    ) -> None:
        self._directory = directory
        self._object_format = object_format
        self._threads = threads
        self._work = work
        self._objects = objects
        self._updates = updates
        self._left = LeftRefs()
        self._marks: RefMarks | None = None
        """Those of the refs that :meth:`present` has returned."""

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
            return await self._threads(look, *arguments, **named)
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
        """Look at those refs that are files of their own, where all of them are too many to be read.

        They are few as a rule, and of more only some are looked at: it holds a thread before each fetch.
        """
        await self._seen(loose_refs, self._directory, _places(self._head()), most=_MOST_LOOKED_AT)

    async def _without_lost(self, found: RefState, known: RefState) -> RefState:
        lost = set(self._objects.missing(oid for oid in found.oids if oid not in known.oids))
        names = [name for name, oid in found.refs.items() if oid in lost]
        if not names:
            return found
        self._work.met_damage(CorruptObject(f"{names[0]} leads to an object that is not here"))
        self._marks = None
        with suppress(ProcessFailed):
            await self._updates.delete(names)
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
            await self._updates.delete(old)
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
