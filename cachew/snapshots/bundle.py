"""Bundles from a commit that a client has to where its branch is now.

A snapshot is as old as its schedule; the bundle brings its checkout up to date with one small file. It is made once,
kept under the two commits it joins, and nobody is sent what the upstream no longer calls its head.
"""

import re
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

from cachew.cache.interface import Cache, Entry
from cachew.mirrors.commands import GitCommands
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import BadRequest, NotFound, StorageUnavailable
from cachew.plumbing.process import Processes
from cachew.plumbing.streams import PIECE, BytesSource
from cachew.snapshots import packed
from cachew.snapshots.order import Begin, Order
from cachew.snapshots.productions import Productions
from cachew.snapshots.sourcemirror import ReadyMirror, SourceMirror, require
from cachew.snapshots.storedproduction import StoredProduction, with_its_mirror
from cachew.snapshots.variants import NAMESPACE

BUNDLE_TYPE = "application/x-git-bundle"
_QUICK = 120.0
_HISTORY_LIMIT = 512 * 1024 * 1024
_MOST_REMEMBERED = 10_000
_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class BranchCheck(Protocol):
    """What is asked of a repository's upstream."""

    async def tip(self, identity: Identity, ref: str) -> str | None:
        """Ask the upstream now which commit a branch is at.

        :param ref: its full name; empty for HEAD's.
        :raise UpstreamError: when it doesn't say.
        """

    async def fetch(self, identity: Identity) -> None:
        """Bring the mirror to where the upstream is, joining a fetch under way."""


def parse_base(text: str) -> str:
    """Read the commit that a client has.

    :raise BadRequest: when it isn't 40 or 64 hex digits.
    """
    base = text.lower()
    if not _OID.fullmatch(base):
        raise BadRequest("base must be a commit of 40 or 64 hex digits")
    return base


class Bundles:
    """Makes, keeps and finds bundles.

    :param cache: where they are kept.
    :param productions: where they are made.
    :param processes: runs git.
    :param commands: makes git's argv and environment.
    :param ready_mirror: gives the mirror that one is made of.
    :param upstream: says what is new.
    :param clock: for the limit on fetches.
    :param ttl: seconds that a bundle is kept.
    :param fetch_interval: seconds between two fetches for commits of one repository that the mirror doesn't know.
    """

    def __init__(
        self,
        *,
        cache: Cache,
        productions: Productions,
        processes: Processes,
        commands: GitCommands,
        ready_mirror: ReadyMirror,
        upstream: BranchCheck,
        clock: Clock,
        ttl: float = 7200.0,
        fetch_interval: float = 10.0,
    ) -> None:
        self._cache, self._productions = cache, productions
        self._processes, self._commands = processes, commands
        self._ready_mirror, self._upstream = ready_mirror, upstream
        self._clock = clock
        self._ttl = ttl
        self._fetch_interval = fetch_interval
        self._fetched: dict[Identity, float] = {}
        self._made: OrderedDict[tuple[Instance, str, str], str] = OrderedDict()

    async def find(self, instance: Instance, base: str, ref: str = "") -> Entry | None:
        """Open the bundle from a commit to the tip of a branch; it is made if need be.

        :param instance: of which repository.
        :param base: the commit, in hex.
        :param ref: the branch's full name; empty for HEAD's.
        :return: None when the upstream has just said that ``base`` is the tip.
        :raise NotFound: when ``base`` is unknown even after a fetch, or there is nothing newer, or the upstream has
            no whole history from ``base`` on.
        :raise UpstreamError: when the upstream had to be asked and failed.
        """
        identity = instance.identity
        mirror = await self._ready_mirror(identity)
        require(mirror, instance)
        if base != tip_of(mirror, ref) and not await self._knows(mirror, base):
            await self._fetch(identity)
            if not await self._knows(mirror, base):
                raise NotFound(f"{identity.name} has no commit {base}")
        if base == tip_of(mirror, ref):
            if await self._upstream.tip(identity, ref) == base:
                return None
            await self._upstream.fetch(identity)
        require(mirror, instance)
        tip = tip_of(mirror, ref)
        if tip is None or await self._contains(mirror, base, tip):
            raise NotFound(f"{identity.name} has nothing newer than {base}")
        return await self._bundle(mirror, base, tip, ref)

    async def kept(self, mirror: SourceMirror, base: str, ref: str = "") -> Entry | None:
        """Open the bundle that :meth:`find` would give if it has been made already; nothing is made or fetched.

        :return: None when the upstream has just said that ``base`` is the tip.
        :raise NotFound: when none is kept.
        :raise UpstreamError: when the upstream had to be asked and failed.
        """
        tip = tip_of(mirror, ref)
        if base == tip and await self._upstream.tip(mirror.identity, ref) == base:
            return None
        entry = None if tip is None else await self._cache.open(NAMESPACE, _key(mirror.instance, base, tip))
        if entry is None:
            raise NotFound(f"no bundle of {mirror.identity.name} from {base} is cached")
        return entry

    async def prepare(self, mirror: SourceMirror, base: str, ref: str = "") -> None:
        """Make a bundle that will probably be asked for, unless it is there or would be empty.

        :param mirror: what it is made of, as it is.
        """
        tip = tip_of(mirror, ref)
        if tip is None or await self._cache.stat(NAMESPACE, _key(mirror.instance, base, tip)) is not None:
            return
        revisions = [tip, f"^{base}"]
        worth = await self._knows(mirror, base) and not await self._contains(mirror, base, tip)
        if worth and not await self.is_cut(mirror, revisions):
            await self._productions.run(self._order(mirror, base, tip, ref)).ended()

    async def _bundle(self, mirror: SourceMirror, base: str, tip: str, ref: str) -> Entry:
        key = _key(mirror.instance, base, tip)
        if (entry := await self._cache.open(NAMESPACE, key)) is not None:
            return entry
        if await self.is_cut(mirror, [tip, f"^{base}"]):
            raise NotFound(
                f"the history of {mirror.identity.name} after {base} is cut off upstream: no bundle can hold it"
            )
        asked = mirror.instance, base, ref
        try:
            order = self._order(mirror, base, tip, ref)
            await with_its_mirror(lambda: self._productions.run(order), StoredProduction.ended)
            if (entry := await self._cache.open(NAMESPACE, key)) is None:
                raise StorageUnavailable("the bundle was made but could not be kept")
        except StorageUnavailable:
            # An older one brings its client nearly as far.
            if (entry := await self._older(asked)) is None:
                raise
            return entry
        self._made[asked] = key
        self._made.move_to_end(asked)
        if len(self._made) > _MOST_REMEMBERED:
            self._made.popitem(last=False)
        return entry

    async def _older(self, asked: tuple[Instance, str, str]) -> Entry | None:
        key = self._made.get(asked)
        return None if key is None else await self._cache.open(NAMESPACE, key)

    def _order(self, mirror: SourceMirror, base: str, tip: str, ref: str) -> Order:
        instance = mirror.instance

        async def make(directory: Path, begin: Begin) -> None:
            names = [ref] if ref else await self._head_names(mirror)
            await self.write(mirror, instance, [*names, f"^{base}"], begin)

        identity = instance.identity
        return Order(
            key=_key(instance, base, tip),
            owner=identity.name,
            make=make,
            kind="bundle",
            ttl=self._ttl,
            mirror=lambda: self._ready_mirror(identity),
        )

    async def write(self, mirror: SourceMirror, instance: Instance, revisions: list[str], begin: Begin) -> None:
        """Write a bundle.

        :param instance: of which repository it is to be.
        :param revisions: names of refs, and commits that are left out, each after a ``^``.
        """
        words = ("bundle", "create", "--quiet", "-", "--stdin")
        script = "".join(f"{revision}\n" for revision in revisions).encode("utf-8", "surrogateescape")
        command = self._commands.git(mirror.directory, *words)
        child = self._processes.start(command, stdin=BytesSource(script))
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

    async def holds_anything(self, mirror: SourceMirror, revisions: list[str]) -> bool:
        """Say whether a bundle would hold a commit: git makes no empty one.

        :param revisions: as for :meth:`write`.
        """
        script = "".join(f"{revision}\n" for revision in revisions).encode("utf-8", "surrogateescape")
        command = self._commands.git(mirror.directory, "rev-list", "--max-count=1", "--stdin")
        return bool((await self._processes.run(command, stdin=script, timeout=_QUICK)).stdout)

    async def is_cut(self, mirror: SourceMirror, revisions: list[str]) -> bool:
        """Say whether a bundle would hold a commit whose parents are missing: git makes such ones and rejects them.

        :param revisions: as for :meth:`write`.
        """
        try:
            cut = set((mirror.directory / packed.SHALLOW).read_bytes().split())
        except FileNotFoundError:
            return False
        script = "".join(f"{revision}\n" for revision in revisions).encode("utf-8", "surrogateescape")
        command = self._commands.git(mirror.directory, "rev-list", "--stdin")
        done = await self._processes.run(command, stdin=script, timeout=_QUICK, limit=_HISTORY_LIMIT)
        return not cut.isdisjoint(done.stdout.split())

    async def _head_names(self, mirror: SourceMirror) -> list[str]:
        command = self._commands.git(mirror.directory, "symbolic-ref", "-q", "HEAD")
        done = await self._processes.run(command, timeout=_QUICK, check=False)
        branch = done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")
        return ["HEAD", branch] if branch else ["HEAD"]

    async def _knows(self, mirror: SourceMirror, commit: str) -> bool:
        command = self._commands.git(mirror.directory, "cat-file", "-e", f"{commit}^{{commit}}")
        return (await self._processes.run(command, timeout=_QUICK, check=False)).code == 0

    async def _contains(self, mirror: SourceMirror, base: str, tip: str) -> bool:
        command = self._commands.git(mirror.directory, "merge-base", "--is-ancestor", tip, base)
        return (await self._processes.run(command, timeout=_QUICK, check=False)).code == 0

    async def _fetch(self, identity: Identity) -> None:
        now = self._clock.seconds()
        if now - self._fetched.get(identity, -self._fetch_interval) < self._fetch_interval:
            return
        if len(self._fetched) >= _MOST_REMEMBERED:
            self._fetched.clear()
        self._fetched[identity] = now
        await self._upstream.fetch(identity)


def tip_of(mirror: SourceMirror, ref: str) -> str | None:
    """Return the commit that a mirror's branch is at; an empty ``ref`` is HEAD's."""
    return mirror.refs.by_name.get(ref) if ref else mirror.refs.head_commit


def _key(instance: Instance, base: str, tip: str) -> str:
    return f"bundle:{instance.name} {base}..{tip}"
