"""Bundles from a commit that a client has to where its branch is now.

A snapshot is as old as its schedule; the bundle brings its checkout up to date with one small file. It is made once,
kept under the two commits it joins, and nobody is sent what the upstream no longer calls its head.
"""

import re
from collections import OrderedDict
from pathlib import Path

from cachew.cache.interface import Cache, Entry
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.staleness import Staleness
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import BadRequest, NotFound, StorageUnavailable
from cachew.snapshots.bundlecommands import BundleCommands
from cachew.snapshots.order import Begin, Order
from cachew.snapshots.productions import Productions
from cachew.snapshots.sourcemirror import ReadyMirror, require
from cachew.snapshots.storedproduction import StoredProduction, with_its_mirror
from cachew.snapshots.variants import NAMESPACE

_FETCH_INTERVAL = 10.0
"""Seconds between two fetches for commits of one repository that its mirror doesn't know."""
_MOST_REMEMBERED = 10_000
_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


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
    :param git: works on mirrors.
    :param ready_mirror: gives the mirror that one is made of.
    :param upstream: says what is new.
    :param clock: for the limit on fetches.
    :param ttl: seconds that a bundle is kept.
    """

    def __init__(
        self,
        *,
        cache: Cache,
        productions: Productions,
        git: BundleCommands,
        ready_mirror: ReadyMirror,
        upstream: Staleness,
        clock: Clock,
        ttl: float = 7200.0,
    ) -> None:
        self._cache = cache
        self._productions = productions
        self._git = git
        self._ready_mirror = ready_mirror
        self._upstream = upstream
        self._clock = clock
        self._ttl = ttl
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
        if base != tip_of(mirror, ref) and not await self._git.knows(mirror, base):
            await self._fetch(identity)
            if not await self._git.knows(mirror, base):
                raise NotFound(f"{identity.name} has no commit {base}")
        if base == tip_of(mirror, ref):
            if await self._upstream.tip(identity, ref) == base:
                return None
            await self._upstream.fetch(identity)
        require(mirror, instance)
        tip = tip_of(mirror, ref)
        if tip is None or await self._git.contains(mirror, base, tip):
            raise NotFound(f"{identity.name} has nothing newer than {base}")
        return await self._bundle(mirror, base, tip, ref)

    async def kept(self, mirror: Mirror, base: str, ref: str = "") -> Entry | None:
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

    async def prepare(self, mirror: Mirror, base: str, ref: str = "") -> None:
        """Make a bundle that will probably be asked for, unless it is there or would be empty.

        :param mirror: what it is made of, as it is.
        """
        tip = tip_of(mirror, ref)
        if tip is None or await self._cache.stat(NAMESPACE, _key(mirror.instance, base, tip)) is not None:
            return
        revisions = [tip, f"^{base}"]
        worth = await self._git.knows(mirror, base) and not await self._git.contains(mirror, base, tip)
        if worth and not await self._git.is_cut(mirror, revisions):
            await self._productions.run(self._order(mirror, base, tip, ref)).ended()

    async def _bundle(self, mirror: Mirror, base: str, tip: str, ref: str) -> Entry:
        key = _key(mirror.instance, base, tip)
        if (entry := await self._cache.open(NAMESPACE, key)) is not None:
            return entry
        if await self._git.is_cut(mirror, [tip, f"^{base}"]):
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

    def _order(self, mirror: Mirror, base: str, tip: str, ref: str) -> Order:
        instance = mirror.instance

        async def make(directory: Path, begin: Begin) -> None:
            names = [ref] if ref else await self._git.head_names(mirror)
            await self._git.write(mirror, instance, [*names, f"^{base}"], begin)

        identity = instance.identity
        return Order(
            key=_key(instance, base, tip),
            owner=identity.name,
            make=make,
            kind="bundle",
            ttl=self._ttl,
            mirror=lambda: self._ready_mirror(identity),
        )

    async def _fetch(self, identity: Identity) -> None:
        now = self._clock.seconds()
        if now - self._fetched.get(identity, -_FETCH_INTERVAL) < _FETCH_INTERVAL:
            return
        if len(self._fetched) >= _MOST_REMEMBERED:
            self._fetched.clear()
        self._fetched[identity] = now
        await self._upstream.fetch(identity)


def tip_of(mirror: Mirror, ref: str) -> str | None:
    """Return the commit that a mirror's branch is at; an empty ``ref`` is HEAD's."""
    return mirror.refs.by_name.get(ref) if ref else mirror.refs.head_commit


def _key(instance: Instance, base: str, tip: str) -> str:
    return f"bundle:{instance.name} {base}..{tip}"
