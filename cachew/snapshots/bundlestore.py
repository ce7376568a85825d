"""The bundle lists of repositories: kept in the cache, brought up to date by the schedule.

A list is only as good as its bundles. One that has gone from the cache ends the list, because those after it build on
it, and the next update begins a new one. The full bundle is kept as a header where a mirror's pack can follow it
(:mod:`cachew.snapshots.packbundle`).
"""

import re
from collections.abc import Mapping
from pathlib import Path

from cachew.cache.interface import Cache, Entry, ObjectInfo
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import Conflict, CorruptObject, TooLarge
from cachew.plumbing.shared import Shared
from cachew.plumbing.streams import read_all
from cachew.plumbing.threads import InThread
from cachew.snapshots.bundlecommands import BUNDLE_TYPE, BundleCommands
from cachew.snapshots.bundlelist import BundleList, ListedBundle, Step, branches, next_step
from cachew.snapshots.order import Begin, Order
from cachew.snapshots.packbundle import PACK_HEADER, PackBundles
from cachew.snapshots.productions import Productions
from cachew.snapshots.sourcemirror import ReadyMirror, require
from cachew.snapshots.variants import NAMESPACE

LIST_LIMIT = 64 * 1024 * 1024
"""Bytes of the longest list: of more branches than go into it none is made."""
_NAME = re.compile(r"[0-9]{1,20}-[0-9a-f]{16}")


class BundleStore:
    """Finds and updates bundle lists.

    :param cache: where lists and bundles are kept.
    :param productions: where bundles are made.
    :param bundles: makes them.
    :param packs: has mirrors' packs be sent as full ones.
    :param ready_mirror: gives the mirror that they are made of.
    :param clock: gives the creation tokens.
    :param in_thread: for what takes as long as there are branches.
    """

    def __init__(
        self,
        *,
        cache: Cache,
        productions: Productions,
        git: BundleCommands,
        packs: PackBundles,
        ready_mirror: ReadyMirror,
        clock: Clock,
        in_thread: InThread,
    ) -> None:
        self._cache = cache
        self._productions = productions
        self._git = git
        self._packs = packs
        self._ready_mirror, self._clock = ready_mirror, clock
        self._in_thread = in_thread
        self._updates: Shared[Identity, bool] = Shared()

    async def listed(self, instance: Instance) -> tuple[ListedBundle, ...]:
        """Return the bundles that a client can have now, the full one first; none when there is no full one."""
        return (await self._intact(instance)).bundles

    async def open(self, instance: Instance, name: str) -> Entry | None:
        """Open a bundle of a list; the caller closes it.

        :return: None when there is none of this name.
        """
        if not _NAME.fullmatch(name):
            return None
        entry = await self._cache.open(NAMESPACE, _bundle_key(instance, name))
        return None if entry is None else await self._packs.whole(instance, entry)

    async def stat(self, instance: Instance, name: str) -> ObjectInfo | None:
        """Return what is known of a bundle that is listed, None when it is gone."""
        info = await self._cache.stat(NAMESPACE, _bundle_key(instance, name))
        if info is None or PACK_HEADER not in info.headers:
            return info
        if (entry := await self.open(instance, name)) is None:
            return None
        entry.close()
        return entry.info

    async def size(self, instance: Instance) -> int:
        """Return the bytes that are kept of a list's bundles, those of the mirror left out."""
        listed = (await self._load(instance)).bundles
        infos = [await self._cache.stat(NAMESPACE, _bundle_key(instance, bundle.name)) for bundle in listed]
        return sum(info.size for info in infos if info is not None)

    async def keys(self, instance: Instance) -> list[str]:
        """Return the keys of a list and of all that it lists."""
        stored = await self._load(instance)
        return [*(_bundle_key(instance, bundle.name) for bundle in stored.bundles), _list_key(instance)]

    async def update(self, identity: Identity, *, renew: bool = False) -> bool:
        """Make the bundle that the list needs next, if it needs one.

        :param renew: whether to begin a new list.
        :return: whether one was made and listed; not when another replica has changed the list meanwhile.
        """
        return await self._updates.run(identity, lambda: self._update(identity, renew))

    async def _update(self, identity: Identity, renew: bool) -> bool:
        mirror = await self._ready_mirror(identity)
        # Begun before the list is read: another replica's that is stored from here on stays.
        instance = mirror.instance
        writer = await self._cache.create(NAMESPACE, _list_key(instance), unless_replaced=True)
        try:
            after = await self._extended(instance, mirror, renew)
            if after is None:
                return False
            await writer.write(await self._in_thread(after.encode))
            await writer.commit()
        except Conflict:
            return False
        finally:
            await writer.abort()
        return True

    async def _extended(self, instance: Instance, mirror: Mirror, renew: bool) -> BundleList | None:
        """Make the bundle that the list needs next and return the list with it; None when it needs none."""
        present = await self._intact(instance)
        require(mirror, instance)
        now = int(self._clock.now())
        step: Step | None = await self._in_thread(_planned, present, mirror.refs.by_name, now, renew)
        if step is None or not await self._git.holds_anything(mirror, step.revisions):
            return None
        if await self._git.is_cut(mirror, step.revisions):
            return None

        async def make(directory: Path, begin: Begin) -> None:
            if whole and (beginning := await self._packs.beginning(mirror, step.after.tips)) is not None:
                sink = await begin({"Content-Type": BUNDLE_TYPE, PACK_HEADER: beginning.pack})
                await sink(beginning.header)
            else:
                await self._git.write(mirror, instance, step.revisions, begin)

        key = _bundle_key(instance, step.listed.name)
        whole = step.after.bundles == (step.listed,)
        kind = "whole bundle" if whole else "bundle"
        order = Order(
            key, instance.identity.name, make, kind=kind, mirror=lambda: self._ready_mirror(instance.identity)
        )
        await self._productions.run(order).ended()
        return step.after

    async def _intact(self, instance: Instance) -> BundleList:
        stored = await self._load(instance)
        for bundle in stored.bundles:
            if await self.stat(instance, bundle.name) is None:
                return BundleList()
        return stored

    async def _load(self, instance: Instance) -> BundleList:
        entry = await self._cache.open(NAMESPACE, _list_key(instance))
        if entry is None:
            return BundleList()
        try:
            listed: BundleList = await self._in_thread(BundleList.decode, await read_all(entry.source(), LIST_LIMIT))
            return listed
        except (ValueError, CorruptObject, TooLarge):
            return BundleList()
        finally:
            entry.close()


def _planned(present: BundleList, refs: Mapping[str, str], now: int, renew: bool) -> Step | None:
    """Return the bundle that a list needs next; None also where the list would be too long."""
    step = next_step(present, branches(refs), now, renew=renew)
    return step if step is not None and len(step.after.encode()) <= LIST_LIMIT else None


def _list_key(instance: Instance) -> str:
    return f"bundle-list:{instance.name}"


def _bundle_key(instance: Instance, name: str) -> str:
    return f"bundle:{instance.name} {name}"
