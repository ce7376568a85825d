"""One bare repository on disk and the git commands run on it: no policy, no network of its own.

Whoever calls holds the mirror's locks. What a command leaves behind that was ended early is removed here, as soon as no
other command writes.
"""

import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import DeferredLock

from cachew.mirrors import findings, packedrefs, receivedpack
from cachew.mirrors.commands import FSCK_SAYS_OF_REFS, GitCommands
from cachew.mirrors.examination import DamagedFiles, examine, remove_derived, rewrite
from cachew.mirrors.fewrefs import few_refs, remove_left
from cachew.mirrors.findings import FindingsReader
from cachew.mirrors.ledger import Ledger, Stamp, stamp_of
from cachew.mirrors.leftovers import remove_graph, remove_leftovers
from cachew.mirrors.mirrorrecord import RECORD
from cachew.mirrors.objectindex import ObjectIndex
from cachew.mirrors.packindex import OpenIndexes
from cachew.mirrors.refs import (
    HIDDEN,
    Change,
    expired,
    hidden_name,
    is_outside,
    of_listing,
    packed_refs,
    update_script,
    valid_name,
)
from cachew.mirrors.reftree import read_refs
from cachew.plumbing.child import Command, Completed
from cachew.plumbing.errors import (
    CachewError,
    CorruptObject,
    FetchFailed,
    FetchTimedOut,
    ProcessFailed,
    ProcessTimedOut,
    StorageFull,
    TooLarge,
)
from cachew.plumbing.jobs import Slots
from cachew.plumbing.process import Processes
from cachew.plumbing.sharedlock import SharedLock
from cachew.plumbing.streams import FileSource, owned
from cachew.plumbing.threads import Threads
from cachew.upstream.listing import Listing, RemoteRef
from cachew.upstream.manyrefs import many_refs

_QUICK = 120.0
_MANY_REFS = 1000
"""From so many refs on they are written at once, not each into a file of its own."""
_NOT_STARTED = 127
_FEW_REFS = 50
_JUST_BEFORE = 100
"""Commits among which the old tip of a branch is looked for without a process: so many a push has at most, mostly."""
_LISTING_LIMIT = 512 * 1024 * 1024
_NO_USE = (
    "unable to access", "Authentication failed", "could not read Username", "could not read Password",
    "No space left on device", "Disk quota exceeded", "Out of memory", "Cannot allocate memory",
)  # fmt: skip
_OF_THE_DISK = ("No space left on device", "Disk quota exceeded")
_BROKEN_OFF = ("RPC failed", "curl ")
_REMOTE_SAID = "remote: "
_MET = ("shallow.lock", "shallow file has changed")
_FSCK = "fsck error"
_FINDINGS = "findings.json"
_FORMS = ("config", "HEAD", "packed-refs")
_BLANK = " \t\r\n"
_REF_FORMAT = "%(objectname) %(*objectname) %(refname)"
_UNPEELED_FORMAT = "%(objectname)  %(refname)"


@dataclass(frozen=True)
class GitRunner:
    """What it takes to run git on mirrors.

    :param processes: where children are started.
    :param commands: their argv and environment.
    :param threads: for blocking file work.
    :param fetch_timeout: seconds that one fetch may take.
    :param clone_timeout: seconds that the first fetch of a clone may take.
    :param maintenance_timeout: seconds that one repack or check may take.
    :param fetches: bounds how many fetches run at once.
    :param by_id: bounds how many fetches run at once of what clients ask for by id.
    :param checks: bounds how many mirrors are read through at once.
    :param disliked: told what git dislikes about objects that came, and how often.
    :param indexes: what is open of the mirrors' pack indexes.
    """

    processes: Processes
    commands: GitCommands
    threads: Threads
    fetch_timeout: float = 600.0
    clone_timeout: float = 7200.0
    maintenance_timeout: float = 3600.0
    fetches: Slots = field(default_factory=lambda: Slots(limit=8))
    by_id: Slots = field(default_factory=lambda: Slots(limit=8))
    checks: Slots = field(default_factory=lambda: Slots(limit=2, queue_limit=1_000_000))
    disliked: Callable[[Mapping[str, int]], object] = lambda counts: None
    indexes: OpenIndexes = field(default_factory=OpenIndexes)

    def for_clone(self) -> "GitRunner":
        """Return the same with the patience that a first fetch needs."""
        return replace(self, fetch_timeout=self.clone_timeout)


@dataclass(frozen=True)
class Stock:
    """What an earlier run has left of a repository.

    :param listing: its refs; None where only git can tell.
    :param fetched: when something was fetched last, in epoch seconds.
    :param known: whether it says what of it was verified.
    :param changed: whether something is not as it was then.
    """

    listing: Listing | None
    fetched: float
    known: bool
    changed: bool


class Repository:
    """A bare repository.

    :param directory: where it is.
    :param object_format: ``sha1`` or ``sha256``.
    :param git: how to run git.
    :param failed: told when git fails here, whatever the reason may be.
    """

    def __init__(
        self,
        *,
        directory: Path,
        object_format: str,
        git: GitRunner,
        failed: Callable[[ProcessFailed], object] = lambda failure: None,
    ) -> None:
        self.directory = directory
        self.object_format = object_format
        self.ledger = Ledger(directory=directory, object_format=object_format)
        self._failed = failed
        self._forms: dict[str, Stamp | None] = {}
        self.objects = ObjectIndex(directory=directory, object_format=object_format, opened=git.indexes)
        self._git = git
        self._door = DeferredLock()
        self._writers = 0
        self._untidy = False
        self._graph_fits = True
        self._findings: Counter[str] | None = None
        self._fetching = SharedLock()

    async def create(self, upstream_url: str) -> None:
        """Make the repository, empty and configured."""
        commands = self._git.commands
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        await self._write(commands.init(self.directory, self.object_format), seconds=_QUICK)
        self.configure(upstream_url)

    def configure(self, upstream_url: str) -> None:
        """Write the whole configuration anew, whatever stood there."""
        aside, text = self.directory / "config.new", self._config(upstream_url)
        with suppress(OSError, ValueError):
            if (self.directory / "config").read_text() == text:
                return
        aside.write_text(text)
        aside.replace(self.directory / "config")
        self._forms = {}

    def _config(self, upstream_url: str) -> str:
        return self._git.commands.config(upstream_url, self.object_format)

    async def fetch_objects(
        self, url: str, oids: Iterable[str], extra: Mapping[str, str], near: Collection[str] = ()
    ) -> None:
        """Fetch objects by id; refs stay as they are.

        :param near: tips that have nearly all that is behind these; none where that is not known, and git looks at all
            refs there are.
        :raise FetchFailed: when git says no.
        """
        script = "".join(f"{oid}\n" for oid in oids).encode()
        # A history that was cut off at the upstream may go further there by now.
        deepen = bool(self.shallow())
        with self._known_to_git(() if deepen else near) as place, told_of_upstream(url):
            await self._fetch(
                lambda extra: self._git.commands.fetch(place, url, extra=extra, deepen=deepen), extra, script
            )

    def _known_to_git(self, tips: Collection[str]) -> AbstractContextManager[Path]:
        return few_refs(self.directory, tips) if tips else nullcontext(self.directory)

    async def fetch_refs(self, url: str, extra: Mapping[str, str]) -> None:
        """Fetch all mirrored refs by their names, to a place below the hidden ones.

        :raise FetchFailed: when git says no.
        """
        with told_of_upstream(url):
            await self._fetch(lambda extra: self._git.commands.fetch_refs(self.directory, url, extra=extra), extra, b"")

    async def take(self, donor: Path, oids: Iterable[str]) -> None:
        """Fetch those of the objects that another repository on this machine has, with what they reach.

        :raise ProcessFailed: when git says no.
        """
        wanted = sorted(oids)
        other = ObjectIndex(directory=donor, object_format=self.object_format, opened=self._git.indexes)
        try:
            absent = set(await self._git.threads(other.missing, wanted))
        finally:
            other.close()
        script = "".join(f"{oid}\n" for oid in wanted if oid not in absent).encode()
        if script:
            await self._fetch(
                lambda extra: self._git.commands.fetch(self.directory, str(donor), extra=extra),
                {"GIT_ALLOW_PROTOCOL": "file"},
                script,
            )

    async def take_pack(self, response: FileSource) -> None:
        """Take the pack that a response of upload-pack carries, and close that.

        :raise ProcessFailed: when git does not take it.
        :raise CorruptObject: when it carries none.
        """
        place, digits = self.directory / "objects" / "pack", 64 if self.object_format == "sha256" else 40
        with owned(response):
            pack = await self._git.threads(receivedpack.extract, response.file, response.length, place, digits // 2)
        reader = FindingsReader()
        command = self._git.commands.index_pack(self.directory, pack)
        await self._write(command, seconds=self._git.fetch_timeout, on_stderr=reader.feed, replaced=False)
        if reader.counts:
            self._git.disliked(reader.counts)
            await self._git.threads(self._note_findings, reader.counts)

    async def shares_history(self, oids: Iterable[str], present: Iterable[str]) -> bool:
        """Whether some of the objects, which are here, share history with heads and tags.

        Two commits that have an ancestor in common have its roots in common.

        :param present: what heads and tags have.
        :raise ProcessFailed: when that can't be told.
        """
        wanted, present = sorted(oids), set(present)
        if not present.isdisjoint(self._just_before(wanted)):
            return True
        if wanted and await self._meets(wanted[0], sorted(present)[:_FEW_REFS]):
            return True
        new = await self._roots("--stdin", stdin="".join(f"{oid}\n" for oid in wanted).encode())
        return bool(new) and not new.isdisjoint(await self._roots("--branches", "--tags"))

    def _just_before(self, oids: Collection[str]) -> set[str]:
        """Return the last ancestors of commits, without a process; none where history is cut or there are too many."""
        if len(oids) > _FEW_REFS or self.shallow():
            return set()
        return self.objects.ancestors(oids, _JUST_BEFORE)

    async def _meets(self, oid: str, others: Iterable[str]) -> bool:
        """Whether a commit has an ancestor in common with others, which costs little where they are near."""
        command = self._git.commands.git(self.directory, "merge-base", oid, *others)
        done = await self._run(command, timeout=self._git.maintenance_timeout, check=False)
        return done.code == 0 and bool(done.stdout.strip())

    async def _roots(self, *words: str, stdin: bytes = b"") -> set[str]:
        command = self._git.commands.git(self.directory, "rev-list", "--max-parents=0", *words)
        seconds = self._git.maintenance_timeout
        done = await self._run(command, stdin=stdin, timeout=seconds, limit=_LISTING_LIMIT)
        return set(done.stdout.decode().split())

    async def _fetch(
        self, command: Callable[[Mapping[str, str]], Command], extra: Mapping[str, str], script: bytes
    ) -> None:
        """Fetch what git itself takes, and count what it has to say of that."""
        reader = FindingsReader()
        try:
            await self._run_fetch(command(extra), script, reader)
        except ProcessFailed as error:
            # There are findings that git can't be told to only warn of.
            if isinstance(error, ProcessTimedOut) or _FSCK not in error.stderr:
                raise
            await self._run_fetch(command(self._git.commands.unchecked(extra)), script, FindingsReader())
        if reader.counts:
            self._git.disliked(reader.counts)
            await self._git.threads(self._note_findings, reader.counts)

    async def _run_fetch(self, command: Command, script: bytes, reader: FindingsReader) -> None:
        """Fetch, again where another fetch has changed meanwhile which commits are cut off: git lets one of them fail.

        At last no other goes on beside it.
        """
        for side_by_side in (True, True, False):
            try:
                async with self._fetching.together() if side_by_side else self._fetching.alone():
                    await self._write(
                        command,
                        seconds=self._git.fetch_timeout,
                        stdin=script,
                        on_stderr=reader.feed,
                        replaced=False,
                        waits=True,
                    )
                return
            except ProcessFailed as error:
                if not side_by_side or not _met_another(error):
                    raise
                reader.counts.clear()

    def _note_findings(self, counts: Mapping[str, int]) -> None:
        aside = self.directory / f"{_FINDINGS}.new"
        found = self.findings() + Counter(counts)
        aside.write_bytes(findings.encode(found))
        aside.replace(self.directory / _FINDINGS)
        self._findings = found

    def findings(self) -> Counter[str]:
        """Return how often git disliked an object that came, by what it disliked."""
        if self._findings is None:
            try:
                self._findings = findings.decode((self.directory / _FINDINGS).read_bytes())
            except OSError:
                self._findings = Counter()
        return self._findings

    async def connected(self, oids: Iterable[str]) -> bool:
        """Say whether everything is here that objects reach which are here themselves.

        A fetch that failed may have left the tip of a history without the rest.
        """
        script = "".join(f"{oid}\n" for oid in oids).encode()
        seconds = self._git.maintenance_timeout
        try:
            await self._git.processes.run(self._git.commands.connected(self.directory), stdin=script, timeout=seconds)
        except ProcessFailed as error:
            if isinstance(error, ProcessTimedOut):
                raise
            return False
        return True

    async def _write(
        self,
        command: Command,
        *,
        seconds: float,
        stdin: bytes = b"",
        on_stderr: Callable[[bytes], object] | None = None,
        replaced: bool | None = None,
        waits: bool = False,
    ) -> None:
        """Run a command that writes here; what a failed one leaves is removed when no other is writing.

        :param replaced: whether it may take files of objects away; None when it writes none of them.
        :param waits: whether it waits for an upstream.
        """
        async with self._writing():
            await self._run(command, stdin=stdin, timeout=seconds, on_stderr=on_stderr, waits=waits)
            await self._take_up(replaced)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        await self._door.acquire()
        self._writers += 1
        self._door.release()
        try:
            yield
        except BaseException:
            self._untidy = True
            raise
        finally:
            self._writers -= 1
            self._forms = self._forms_now()
            if self._untidy:
                await self._tidy()

    async def _run(self, command: Command, **options: Any) -> Completed:
        """Run a command, and tell when it fails: something here may be damaged."""
        try:
            return await self._git.processes.run(command, **options)
        except ProcessFailed as error:
            started = not isinstance(error, ProcessTimedOut) and error.code not in (None, _NOT_STARTED)
            if started and not _met_another(error):
                self._failed(error)
            raise

    async def _take_up(self, replaced: bool | None) -> None:
        """Verify what git has just written of objects.

        :raise CorruptObject: when the disk has not kept it.
        """
        if replaced is None:
            return
        bad = await self._git.threads(self.ledger.take_up, replaced=replaced)
        if bad:
            raise CorruptObject(f"{bad[0]} is damaged as soon as it is written")

    @property
    def writing(self) -> bool:
        """Whether git is writing here now."""
        return self._writers > 0

    def changed(self) -> str:
        """Return a file that was written to by somebody else since it was verified or written here, or nothing."""
        if name := self.ledger.changed(writing=self.writing):
            return name
        if self.writing:
            return ""
        now = self._forms_now()
        self._forms = self._forms or now
        return next((name for name in now if now[name] != self._forms[name]), "")

    def _forms_now(self) -> dict[str, Stamp | None]:
        return {name: stamp_of(self.directory / name) for name in _FORMS}

    async def _tidy(self) -> None:
        await self._door.acquire()
        try:
            if self._untidy and not self._writers:
                self._untidy = False
                await self._git.threads(remove_leftovers, self.directory)
        finally:
            self._door.release()

    async def write_new_refs(self, listing: Listing) -> None:
        """Write the refs of a repository that has none yet."""
        await self._git.threads(lambda: (self.directory / "packed-refs").write_bytes(packed_refs(listing)))
        self._forms = {}
        head = of_listing(listing).head
        if head:
            await self.set_head(head)

    async def set_head(self, head: str) -> None:
        """Point HEAD at a ref or an object; a ref name that git would not take is left alone."""
        if head.startswith("refs/") and not valid_name(head):
            return
        await self._write(self._git.commands.set_head(self.directory, head), seconds=_QUICK)

    async def apply(self, change: Change, now: float) -> None:
        """Bring the refs to where ``change`` says; what loses its ref is kept under a hidden one."""
        reached = await self._reached(change)
        hidden = {hidden_name(oid, now): oid for oid in change.abandoned if oid not in reached}
        if change.deletions:
            # First, so that ``a`` can give way to ``a/b``; git does not do that in one transaction.
            await self._update(hidden, change.deletions)
            hidden = {}
        if change.updates or hidden:
            await self._update({**hidden, **change.updates}, ())
        if change.head:
            await self.set_head(change.head)

    async def _reached(self, change: Change) -> set[str]:
        """Return those tips that branches moved on from and that the branches' new tips still reach.

        An upstream that is pushed to all day would otherwise leave a hidden ref for every push.
        """
        if not change.passed:
            return set()
        new = {oid for name, oid in change.updates.items() if name.startswith("refs/heads/")}
        if self._just_before(new).issuperset(change.passed):
            return set(change.passed)
        script = "".join([*(f"{oid}\n" for oid in change.passed), *(f"^{oid}\n" for oid in new)]).encode()
        command = self._git.commands.git(self.directory, "rev-list", "--stdin")
        try:
            done = await self._run(command, stdin=script, timeout=_QUICK, limit=_LISTING_LIMIT)
        except (ProcessFailed, TooLarge):
            return set()
        return set(change.passed).difference(done.stdout.decode().split())

    async def keep(self, oids: Iterable[str], now: float) -> None:
        """Keep objects alive under hidden refs."""
        await self._update({hidden_name(oid, now): oid for oid in oids}, ())

    async def _update(self, updates: Mapping[str, str], deletions: Collection[str]) -> None:
        if len(updates) + len(deletions) >= _MANY_REFS:
            done = await self._pack(updates, deletions)
            updates = {name: oid for name, oid in updates.items() if name not in done}
            deletions = [name for name in deletions if name not in done]
        script = update_script(updates, deletions)
        if script:
            await self._write(self._git.commands.update_refs(self.directory), seconds=_QUICK, stdin=script)

    async def _pack(self, refs: Mapping[str, str], deletions: Collection[str]) -> set[str]:
        """Write and delete very many refs at once.

        :return: the names of those that are done; the others are loose refs.
        :raise ProcessFailed: when one of them can't name what it should, as git would refuse it.
        """
        types, peeled = await self._types(set(refs.values())) if refs else ({}, {})
        for name, oid in refs.items():
            if oid not in types or (name.startswith("refs/heads/") and types[oid] != "commit"):
                raise ProcessFailed("git update-ref", 128, f"fatal: {name} can't be {types.get(oid, 'missing')} {oid}")
        async with self._writing():
            return await self._git.threads(packedrefs.rewrite, self.directory, refs, peeled, deletions=deletions)

    async def _types(self, oids: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the types of objects that are here, and what the tags among them lead to."""
        asked = list(oids)
        script = "".join(f"{oid}\n{oid}^{{}}\n" for oid in asked).encode()
        command = self._git.commands.git(self.directory, "cat-file", "--batch-check=%(objectname) %(objecttype)")
        done = await self._run(command, stdin=script, timeout=_QUICK, limit=_LISTING_LIMIT)
        lines = done.stdout.decode().split("\n")[:-1]
        types, peeled = {}, {}
        for oid, own, led in zip(asked, lines[::2], lines[1::2], strict=True):
            found, _, kind = own.partition(" ")
            if found == oid and kind != "missing":
                types[oid] = kind
                if kind == "tag" and not led.endswith(" missing"):
                    peeled[oid] = led.partition(" ")[0]
        return types, peeled

    async def read_listing(self, *, peeled: bool = True, by_git: bool = False) -> Listing:
        """List the mirrored refs and HEAD as the upstream would.

        No process is needed for that, unless somebody has to say what annotated tags lead to that are no packed refs.

        :param peeled: whether it is asked what annotated tags lead to, for which git looks at every ref's object.
        :param by_git: whether git is asked in any case, which fails where it can't work with the repository.
        """
        listing = None if by_git else await self._git.threads(self._listed_by_files, peeled=peeled)
        return await self._listed_by_git(peeled=peeled) if listing is None else listing

    def _listed_by_files(self, *, peeled: bool) -> Listing | None:
        """List the refs without a process (blocking); None when only git can tell."""
        head = self._head()
        refs = read_refs(self.directory, _places(head), peeled=peeled)
        return None if refs is None else self._listed(head, refs)

    async def _listed_by_git(self, *, peeled: bool) -> Listing:
        head = self._head()
        words = ("for-each-ref", f"--format={_REF_FORMAT if peeled else _UNPEELED_FORMAT}", *_places(head))
        return self._listed(head, tuple(_parse_ref(line) for line in _lines(await self._output(*words))))

    def _listed(self, head: RemoteRef, refs: tuple[RemoteRef, ...]) -> Listing:
        if head.symref_target is not None:
            found = next((ref for ref in refs if ref.name == head.symref_target), None)
            if found is not None:
                head = replace(head, oid=found.oid, peeled=found.peeled)
        return Listing(refs=many_refs((head, *refs), self._digits), object_format=self.object_format)

    def take_stock(self, upstream_url: str) -> Stock:
        """Take up what an earlier run has left, after removing what a killed git did (blocking).

        :raise OSError: when it can't be read.
        """
        remove_leftovers(self.directory)
        remove_left(self.directory)
        self.configure(upstream_url)
        known = self.ledger.load()
        return Stock(
            listing=self._listed_by_files(peeled=True),
            fetched=(self.directory / RECORD).stat().st_mtime,
            known=known,
            changed=bool(known and self.ledger.unverified()),
        )

    def _head(self) -> RemoteRef:
        text = (self.directory / "HEAD").read_bytes().decode(errors="surrogateescape").strip(_BLANK)
        if not text.startswith("ref:"):
            return RemoteRef(name="HEAD", oid=text, symref_target=None, peeled=None)
        return RemoteRef(name="HEAD", oid=None, symref_target=text.removeprefix("ref:").strip(_BLANK), peeled=None)

    async def expire(self, now: float, *, days: int) -> int:
        """Delete the hidden refs that are older than ``days`` days; return how many."""
        output = await self._output("for-each-ref", "--format=%(refname)", HIDDEN)
        old = expired(_lines(output), now, days=days)
        if old:
            await self._update({}, old)
        return len(old)

    async def index_packs(self, *, bitmaps: bool = True) -> None:
        """Write the commit-graph, and bitmaps if they are asked for."""
        await self._maintain(self._git.commands.index_packs(self.directory, bitmaps=bitmaps, graph=self._graph_fits))
        await self._check_graph()

    async def repack(self, *, full: bool) -> None:
        """Join packs: all of them, dropping what no ref reaches (``full``), or only the small ones."""
        await self._maintain(self._git.commands.repack(self.directory, full=full, graph=self._graph_fits))
        if full:
            await self._check_graph()

    async def _check_graph(self) -> None:
        """Do without a commit-graph where it would lie: dates beyond 2**34 or negative have no room in it."""
        if not self._graph_fits:
            return
        command = self._git.commands.check_graph(self.directory)
        done = await self._git.processes.run(
            command, timeout=self._git.maintenance_timeout, limit=_LISTING_LIMIT, check=False
        )
        if done.code:
            self._graph_fits = False
            await self._git.threads(remove_graph, self.directory)

    async def _maintain(self, commands: Iterable[Command]) -> None:
        for command in commands:
            await self._write(command, seconds=self._git.maintenance_timeout, replaced=True)

    async def scrub(self, pace: Callable[[int], Awaitable[object]]) -> bool:
        """Read every file that has a checksum, one after the other; say whether all are sound.

        :param pace: awaited after each with the bytes that were read.
        """
        for name in await self._git.threads(self.ledger.names):
            size = await self._git.threads(_size_of, self.directory / name)
            # What has gone since may have been replaced by git.
            bad = await self._git.threads(self.ledger.verify, [name]) if size is not None else []
            if bad:
                return False
            await pace(size or 0)
        return True

    async def examine(self, upstream_url: str, *, contents: bool) -> DamagedFiles:
        """Find out what is damaged; see :func:`cachew.mirrors.examination.examine`."""
        config, digits = self._config(upstream_url), self._digits
        forms = self._forms_now()
        found = await self._git.threads(
            examine, self.directory, self.ledger, config=config, digits=digits, contents=contents
        )
        if not found.shape:
            self._forms = forms
        return found

    @property
    def _digits(self) -> int:
        return 64 if self.object_format == "sha256" else 40

    async def mend(self, found: DamagedFiles, listing: Listing, upstream_url: str) -> None:
        """Remove what git can make again, and write anew what is known.

        :param listing: what the refs should be.
        """
        await self._git.threads(remove_derived, self.directory, found)
        if found.shape:
            await self._git.threads(rewrite, self.directory, listing, digits=self._digits)
            self.configure(upstream_url)

    async def disconnected(self) -> CachewError | None:
        """Return what fsck says when something is missing that the refs reach; what kept it from its end is raised."""
        try:
            await run_check(self._git.processes, self._git.commands.fsck(self.directory), self._git.maintenance_timeout)
        except TooLarge as error:
            return error
        except ProcessFailed as error:
            if isinstance(error, ProcessTimedOut) or error.code in (None, _NOT_STARTED):
                raise
            return error
        return None

    async def _output(self, *words: str) -> bytes:
        command = self._git.commands.git(self.directory, *words)
        done = await self._run(command, timeout=_QUICK, limit=_LISTING_LIMIT)
        return done.stdout

    def shallow(self) -> tuple[str, ...]:
        """Return the ids of the commits whose parents are missing, as at the upstream."""
        try:
            return tuple((self.directory / "shallow").read_text("ascii").split())
        except FileNotFoundError:
            return ()

    def pack_count(self) -> int:
        """Return how many packs there are."""
        return sum(name.endswith(".pack") for name in os.listdir(self.directory / "objects" / "pack"))

    def size(self) -> int:
        """Return the bytes that the packs take."""
        return sum(filter(None, map(_size_of, (self.directory / "objects" / "pack").iterdir())))


def _places(head: RemoteRef) -> list[str]:
    """Return below which names the refs are that are listed."""
    outside = [head.symref_target] if head.symref_target and is_outside(head.symref_target) else []
    return ["refs/heads/", "refs/tags/", *outside]


def _size_of(path: Path) -> int | None:
    """Return a file's size; None when it is not there, or has just gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _lines(output: bytes) -> list[str]:
    """Split at newlines only: a ref's name may hold what Unicode takes for the end of a line."""
    return [line for line in output.decode(errors="surrogateescape").split("\n") if line]


async def run_check(processes: Processes, command: Command, seconds: float) -> None:
    """Run one command of a check.

    :raise ProcessFailed: when it finds damage; what fsck dislikes about names of refs alone is none.
    """
    try:
        await processes.run(command, timeout=seconds)
    except ProcessFailed as error:
        if error.code != FSCK_SAYS_OF_REFS or "fsck" not in command.argv:
            raise


@contextmanager
def told_of_upstream(url: str) -> Iterator[None]:
    """Tell failures of git to fetch from an upstream as that upstream's, but for those of this machine's disk.

    :param url: the upstream's.
    :raise FetchFailed: instead of :class:`ProcessFailed`.
    """
    try:
        yield
    except ProcessFailed as failure:
        if any(words in failure.stderr for words in _OF_THE_DISK):
            raise StorageFull("there is no room for what was to be fetched") from failure
        kind = FetchTimedOut if isinstance(failure, ProcessTimedOut) else FetchFailed
        raise kind(url, failure) from failure


def worth_another_way(failure: ProcessFailed) -> bool:
    """Say whether a fetch that failed may succeed when it asks for something else: not where nobody answers."""
    return not isinstance(failure, ProcessTimedOut) and not any(words in failure.stderr for words in _NO_USE)


def about_what_was_asked(failure: ProcessFailed) -> bool:
    """Say whether a fetch failed because of something that it asked for, so that the rest may come without it.

    Not where the connection broke: then the upstream has said nothing before.
    """
    broken_off = any(words in failure.stderr for words in _BROKEN_OFF) and _REMOTE_SAID not in failure.stderr
    return worth_another_way(failure) and not broken_off


def _met_another(failure: ProcessFailed) -> bool:
    """Say whether a fetch failed only because another one was writing down which commits are cut off."""
    return any(words in failure.stderr for words in _MET)


def _parse_ref(line: str) -> RemoteRef:
    oid, peeled, name = line.split(" ", 2)
    return RemoteRef(name=name, oid=oid, symref_target=None, peeled=peeled or None)


def pack_indexes(directory: Path) -> list[Path]:
    """Return the indexes of a repository's packs."""
    return sorted((directory / "objects" / "pack").glob("*.idx"))
