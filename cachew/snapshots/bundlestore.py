"""The bundle lists of repositories: kept in the cache, brought up to date by the schedule.

A list is only as good as its bundles. One that has gone from the cache ends the list, because those after it build on
it, and the next update begins a new one.
"""

import re
from pathlib import Path

from cachew.cache.interface import Cache, Entry, ObjectInfo
from cachew.mirrors.commands import GitCommands
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import Conflict, CorruptObject
from cachew.plumbing.process import Processes
from cachew.plumbing.shared import Shared
from cachew.plumbing.streams import read_all
from cachew.snapshots.bundle import Bundles
from cachew.snapshots.bundlelist import BundleList, ListedBundle, branches, next_step
from cachew.snapshots.order import Begin, Order
from cachew.snapshots.productions import Productions
from cachew.snapshots.sourcemirror import ReadyMirror, SourceMirror, require
from cachew.snapshots.variants import NAMESPACE

_LIST_LIMIT = 64 * 1024 * 1024
_QUICK = 120.0
_NAME = re.compile(r"[0-9]{1,20}-[0-9a-f]{16}")


class BundleStore:
    """Finds and updates bundle lists.

    :param cache: where lists and bundles are kept.
    :param productions: where bundles are made.
    :param bundles: makes them.
    :param processes: runs git.
    :param commands: makes git's argv and environment.
    :param ready_mirror: gives the mirror that they are made of.
    :param clock: gives the creation tokens.
    """

    def __init__(
        self,
        *,
        cache: Cache,
        productions: Productions,
        bundles: Bundles,
        processes: Processes,
        commands: GitCommands,
        ready_mirror: ReadyMirror,
        clock: Clock,
    ) -> None:
        self._cache = cache
        self._productions = productions
        self._bundles = bundles
        self._processes, self._commands = processes, commands
        self._ready_mirror, self._clock = ready_mirror, clock
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
        return await self._cache.open(NAMESPACE, _bundle_key(instance, name))

    async def stat(self, instance: Instance, name: str) -> ObjectInfo | None:
        """Return what is known of a bundle that is listed, None when it is gone."""
        return await self._cache.stat(NAMESPACE, _bundle_key(instance, name))

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
            await writer.write(after.encode())
            await writer.commit()
        except Conflict:
            return False
        finally:
            await writer.abort()
        return True

    async def _extended(self, instance: Instance, mirror: SourceMirror, renew: bool) -> BundleList | None:
        """Make the bundle that the list needs next and return the list with it; None when it needs none."""
        present = await self._intact(instance)
        require(mirror, instance)
        step = next_step(present, branches(mirror.refs), int(self._clock.now()), renew=renew)
        if step is None or not await self._holds_anything(mirror, step.revisions):
            return None
        if await self._bundles.is_cut(mirror, list(step.revisions)):
            return None

        async def make(directory: Path, begin: Begin) -> None:
            await self._bundles.write(mirror, instance, list(step.revisions), begin)

        key = _bundle_key(instance, step.listed.name)
        whole = not any(revision.startswith("^") for revision in step.revisions)
        kind = "whole bundle" if whole else "bundle"
        order = Order(
            key, instance.identity.name, make, kind=kind, mirror=lambda: self._ready_mirror(instance.identity)
        )
        await self._productions.run(order).ended()
        return step.after

    async def _holds_anything(self, mirror: SourceMirror, revisions: tuple[str, ...]) -> bool:
        """Whether there is a commit between what is left out and what is held: git makes no empty bundle."""
        script = "".join(f"{revision}\n" for revision in revisions).encode("utf-8", "surrogateescape")
        command = self._commands.git(mirror.directory, "rev-list", "--max-count=1", "--stdin")
        return bool((await self._processes.run(command, stdin=script, timeout=_QUICK)).stdout)

    async def _intact(self, instance: Instance) -> BundleList:
        stored = await self._load(instance)
        for bundle in stored.bundles:
            if await self._cache.stat(NAMESPACE, _bundle_key(instance, bundle.name)) is None:
                return BundleList()
        return stored

    async def _load(self, instance: Instance) -> BundleList:
        entry = await self._cache.open(NAMESPACE, _list_key(instance))
        if entry is None:
            return BundleList()
        try:
            return BundleList.decode(await read_all(entry.source(), _LIST_LIMIT))
        except (ValueError, CorruptObject):
            return BundleList()
        finally:
            entry.close()


def _list_key(instance: Instance) -> str:
    return f"bundle-list:{instance.name}"


def _bundle_key(instance: Instance, name: str) -> str:
    return f"bundle:{instance.name} {name}"
