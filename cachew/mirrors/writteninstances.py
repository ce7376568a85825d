"""The present instances as they are written down: here across restarts, and together with the other replicas."""

from contextlib import suppress
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.mirrors import instance as rules
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance, InstanceState, Trouble
from cachew.mirrors.instancejournal import InstanceJournal
from cachew.mirrors.knowninstances import KnownInstance, KnownInstances
from cachew.mirrors.sharedinstances import SharedInstances
from cachew.plumbing.errors import CachewError, Conflict, StorageUnavailable
from cachew.plumbing.remembered import Newest
from cachew.plumbing.shared import Shared
from cachew.upstream.listing import Listing

_TRIES = 5
_VOID = 10_000
"""How many ids are remembered that were ended here: each matters until the store has heard of its end."""
_READ_AGAIN = 1.5
"""Seconds after which a replica looks again at what the others know of a repository that is asked for."""
_AT_ONCE = 0.05
"""Seconds for which who may read already waits for that."""
_AT_FIRST = 2.0
"""The same, where it was never looked at since the start."""


class KeptHistory(Protocol):
    """What is kept of repositories, as far as it tells whether a listing is of the same one."""

    def shares(self, instance: Instance, listing: Listing) -> bool | None:
        """Whether the refs of an instance's mirror have anything that is listed; None when it has no mirror."""

    def ended(self, instance: Instance) -> None:
        """Give up what is kept of an instance, which nobody can reach any more."""


class WrittenInstances(KnownInstances):
    """The present instances, written down before anybody is served because of them.

    :param journal: where they are kept across restarts.
    :param shared: what replicas know, None where there is one server only.
    :param kept: what is kept of repositories.
    :param reactor: bounds waits.
    """

    log = Logger()

    def __init__(
        self,
        *,
        journal: InstanceJournal,
        shared: SharedInstances | None,
        kept: KeptHistory,
        reactor: IReactorTime,
    ) -> None:
        super().__init__(reactor=reactor)
        self._journal = journal
        self._shared = shared
        self._kept = kept
        self._unwritten: StorageUnavailable | None = None
        self._void: Newest[str] = Newest(_VOID)
        self._looks: Shared[str, None] = Shared(keep=True)

    async def load(self) -> None:
        """Recall what an earlier run knew."""
        for name, state in (await self._journal.load()).items():
            identity = Identity.from_name(name)
            self._entries.setdefault(identity.name, KnownInstance(identity, state))

    async def stop(self) -> None:
        """Break off the questions to the other replicas."""
        await self._looks.stop()

    async def look(self, identity: Identity) -> None:
        """See what the other replicas know of a repository that is asked for, unless that was seen just now.

        A slow store is waited for only where nothing is known here, or nothing but of an earlier run and a private one.
        """
        if self._shared is None or self._shared.age(identity.name) < _READ_AGAIN:
            return
        looking = Deferred.fromCoroutine(self._looks.run(identity.name, lambda: self._look(identity)))
        if identity.name in self._entries:
            certain = self._shared.age(identity.name) < float("inf") or self.is_public(identity)
            looking.addTimeout(_AT_ONCE if certain else _AT_FIRST, self._reactor)
        with suppress(DeferredTimeout):
            await looking

    async def _look(self, identity: Identity) -> None:
        await self.trouble(identity)

    async def trouble(self, identity: Identity) -> StorageUnavailable | None:
        """Return what keeps this server from knowing, or telling, what the replicas know; None when it is nothing."""
        try:
            await self._read(identity)
        except StorageUnavailable as error:
            return error
        return None if identity.name in self._entries else self._unwritten

    async def _read(self, identity: Identity) -> None:
        """Take over what the other replicas know.

        :raise StorageUnavailable: when that can't be had.
        """
        if self._shared is None:
            return
        found = await self._shared.read(identity.name)
        entry = self._entries.get(identity.name)
        if found is None and entry is not None:
            with suppress(Conflict):
                await self._shared.write(identity.name, entry.state)
        elif found is not None and found.id in self._void:
            # It was ended here while the store could not be reached.
            with suppress(Conflict):
                await self._shared.write(identity.name, InstanceState() if entry is None else entry.state)
        elif found is not None and entry is not None and entry.state.id == found.id:
            self._suspect(entry, rules.merged(entry.state, found))
        elif found is not None:
            await self._become(identity, found)

    async def keeps(self, identity: Identity) -> bool:
        """Whether a repository has an instance, of which things may be kept, here or by another replica."""
        if identity.name not in self._entries:
            with suppress(CachewError):
                await self._read(identity)
        entry = self._entries.get(identity.name)
        return entry is not None and bool(entry.state.id)

    async def end(self, identity: Identity) -> None:
        """End the present instance, if there is one; another begins when the upstream next serves somebody."""
        entry = self._entries.get(identity.name)
        if entry is None:
            return
        if entry.state.id:
            self._void.add(entry.state.id)
        try:
            for _ in range(_TRIES):
                if await self._replace(identity, InstanceState()):
                    break
        except CachewError:
            await self._become(identity, InstanceState())
            raise

    async def _keep(self, entry: KnownInstance) -> None:
        """Write down what is known of an instance that goes on; a store that fails is told the next time."""
        name = entry.identity.name
        await self._write_down(name, entry.state)
        try:
            for _ in range(_TRIES):
                if await self._told(entry):
                    break
        except StorageUnavailable as error:
            self.log.warn("other replicas are not told of {repository}: {error}", repository=name, error=error)

    async def _told(self, entry: KnownInstance) -> bool:
        """Tell the other replicas; False when they know something else, which is then known here, too."""
        try:
            if self._shared is not None:
                await self._shared.write(entry.identity.name, entry.state)
        except Conflict:
            await self._read(entry.identity)
            return False
        return True

    async def _write_down(self, name: str, state: InstanceState) -> None:
        try:
            await self._journal.note(name, state)
        except OSError as error:
            raise StorageUnavailable(f"the instance of {name} can't be written down: {error}") from error

    async def _replace(self, identity: Identity, state: InstanceState) -> bool:
        """Put a state in the place of the one that the replicas know; False when they know another one by now."""
        if self._shared is not None:
            try:
                await self._shared.write(identity.name, state)
            except Conflict:
                await self._read(identity)
                return False
            except StorageUnavailable as error:
                self._unwritten = error
                raise
        self._unwritten = None
        await self._become(identity, state)
        return True

    async def _become(self, identity: Identity, state: InstanceState) -> None:
        entry = self._entries.get(identity.name)
        before = None if entry is None else entry.state
        if entry is None:
            # Who was let in before anything was listed may have been shown what tells nobody's right to read refs.
            entry = self._entries[identity.name] = KnownInstance(identity, state, era=1, floor=1)
        entry.state = state
        if before is not None and before.id != state.id:
            entry.era += 1
            entry.resolve(entry.era)
            if before.id:
                self._kept.ended(Instance(identity, before.id))
        await self._write_down(identity.name, state)

    def _suspect(self, entry: KnownInstance, state: InstanceState) -> None:
        """Take over what is known of an instance; once somebody was refused who used to be served, all ask anew."""
        before, entry.state = entry.state, state
        if state.trouble is Trouble.REFUSED is not before.trouble:
            entry.void_verdicts()
