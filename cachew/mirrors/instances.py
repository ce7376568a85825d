"""Which instance every repository is of now, and when a new one begins.

All that an upstream says comes by here before anything is done with it: what it listed is held against what is known of
the instance before anybody is served because of it. See :mod:`cachew.mirrors.instance` for what follows from what.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.mirrors import instance as rules
from cachew.mirrors.badhours import BadHours
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance, InstanceState, Trouble, Verdict, Voice, judge
from cachew.mirrors.instancejournal import InstanceJournal
from cachew.mirrors.knowninstances import KnownInstance, KnownInstances
from cachew.mirrors.sharedinstances import SharedInstances
from cachew.plumbing.allowance import Allowance
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError, Conflict, StorageUnavailable
from cachew.plumbing.shared import Shared
from cachew.upstream.listing import Listing

_TRIES = 5
_ABOUT_RIGHTS = (401, 403, 404, 410)
_GONE = (404, 410)
_READ_AGAIN = 1.5
"""Seconds after which a replica looks again at what the others know of a repository that is asked for."""
_AT_ONCE = 0.05
"""Seconds for which who may read already waits for that."""
_AT_FIRST = 2.0
"""The same, where it was never looked at since the start."""
_TIPS_AGAIN = 600.0


class KeptHistory(Protocol):
    """What is kept of repositories, as far as it tells whether a listing is of the same one."""

    def shares(self, instance: Instance, listing: Listing) -> bool | None:
        """Whether the refs of an instance's mirror have anything that is listed; None when it has no mirror."""

    def ended(self, instance: Instance) -> None:
        """Give up what is kept of an instance, which nobody can reach any more."""


class Instances(KnownInstances):
    """Keeps the present instance of every repository, and hears what upstreams say about them.

    :param journal: where they are kept across restarts.
    :param shared: what replicas know, None where there is one server only.
    :param voice_of: says as whom an upstream was asked.
    :param ask_anonymously: asks an upstream whether it serves a repository to everybody, so that its answer comes here.
    :param knows: whether a credential was let in before by an answer about the present instance.
    :param kept: what is kept of repositories.
    :param bad_hours: knows which hosts refuse everything.
    :param reactor: bounds waits.
    :param clock: what time it is.
    :param unique: makes ids that nobody can guess.
    :param new_ones: how many instances of one host may follow on earlier ones in a minute.
    :param background: where others are told what nobody waits for.
    """

    log = Logger()

    def __init__(
        self,
        *,
        journal: InstanceJournal,
        shared: SharedInstances | None,
        voice_of: Callable[[Identity, str | None], Awaitable[Voice]],
        ask_anonymously: Callable[[Identity], Awaitable[object]],
        knows: Callable[[Identity, str | None], bool],
        kept: KeptHistory,
        bad_hours: BadHours,
        reactor: IReactorTime,
        clock: Clock,
        unique: Callable[[], str],
        new_ones: Allowance,
        background: Background,
    ) -> None:
        super().__init__(reactor=reactor)
        self._journal = journal
        self._shared = shared
        self._voice_of = voice_of
        self._ask_anonymously = ask_anonymously
        self._knows = knows
        self._kept = kept
        self._bad_hours = bad_hours
        self._clock = clock
        self._unique = unique
        self._new_ones = new_ones
        self._background = background
        self._void: set[str] = set()
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
        with suppress(StorageUnavailable):
            await self._read(identity)

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

    # --- what upstreams say -------------------------------------------------------------------------------------------

    async def listed(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> Verdict:
        """Take notice of what an upstream has listed, and say what that means.

        :param credential: what it was shown.
        :param number: of the question, so that an earlier one's answer changes nothing.
        """
        voice = await self._voice_of(identity, credential)
        self._bad_hours.served(identity, voice)
        entry = self._entries.get(identity.name)
        known = voice is Voice.OWN or self._knows(identity, credential)
        known = self.is_public(identity) if voice is Voice.ANONYMOUS else known
        try:
            if entry is None or not known:
                # A right that is new must not be one to what another replica knows to have ended.
                await self._read(identity)
            return await self._judged(identity, voice, listing, number)
        except StorageUnavailable as error:
            self.log.warn("{repository} is answered by its upstream: {error}", repository=identity.name, error=error)
            return Verdict.ASIDE

    async def listed_in_part(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> bool:
        """Say whether what an upstream has listed of some refs is certainly of the present instance.

        Only where nothing follows from it: otherwise all heads and tags are to be listed, and :meth:`listed` decides.
        """
        voice = await self._voice_of(identity, credential)
        entry = self._entries.get(identity.name)
        if entry is None or entry.doubt is not None or number < entry.evidence:
            return False
        state, client = entry.state, voice is Voice.CLIENT
        known = self.is_public(identity) if voice is Voice.ANONYMOUS else self._knows(identity, credential)
        quiet = state.trouble is Trouble.NONE and (client or (voice in state.voices and listing.base == state.base))
        if not quiet or not (known or voice is Voice.OWN) or not self._related(entry, voice, listing):
            return False
        self._bad_hours.served(identity, voice)
        return judge(state, voice, related=True) is Verdict.GOES_ON

    async def _judged(self, identity: Identity, voice: Voice, listing: Listing, number: int) -> Verdict:
        asked = voice is not Voice.CLIENT and voice is not Voice.OWN
        for _ in range(_TRIES):
            entry = self._entries.get(identity.name)
            if entry is not None and number < entry.evidence:
                return Verdict.LATE
            state = None if entry is None else entry.state
            verdict = judge(state, voice, None if entry is None else self._related(entry, voice, listing))
            if verdict is Verdict.BEGINS and not asked:
                # What everybody may read begins as such.
                asked = True
                await self._ask_anonymously(identity)
            elif verdict is Verdict.BEGINS:
                begins = await self._begin(identity, state, voice, listing, number)
                if begins is not None:
                    return begins
            elif entry is not None:
                await self._note(entry, verdict, voice, listing, number)
                if state is not None and entry.state.id == state.id:
                    return verdict
        return Verdict.ASIDE

    def _related(self, entry: KnownInstance, voice: Voice, listing: Listing) -> bool | None:
        """Whether a listing shares history with the present instance; None when only a fetch can tell."""
        state = entry.state
        if state.base and not listing.base and voice is not Voice.CLIENT:
            # The name of a repository that had moved has been taken by somebody.
            return False
        shares = self._kept.shares(Instance(entry.identity, state.id), listing)
        nothing = not state.tips and shares is None
        if nothing or shares or rules.overlap(state.tips, listing.oids()):
            return True
        if listing.empty or listing.object_format != state.object_format:
            return False
        # Without a voice of its own the server makes no mirror that could tell.
        return None if shares is not None or state.voices else False

    async def _note(self, entry: KnownInstance, verdict: Verdict, voice: Voice, listing: Listing, number: int) -> None:
        if verdict is Verdict.DOUBT:
            mirrored = self._kept.shares(Instance(entry.identity, entry.state.id), listing) is not None
            self._doubt(entry, voice, listing, number, mirrored=mirrored)
        elif verdict is Verdict.GOES_ON:
            if entry.doubt is not None:
                # Who was let in meanwhile may have been let in to something else.
                self._resolve(entry, entry.era + 1)
                entry.era += 1
            await self._go_on(entry, voice, listing)

    async def _go_on(self, entry: KnownInstance, voice: Voice, listing: Listing) -> None:
        before, after = entry.state, rules.gone_on(entry.state, voice, listing)
        entry.state = after
        if (before.voices, before.trouble, before.base) != (after.voices, after.trouble, after.base):
            await self._keep(entry)
        elif before != after and self._clock.seconds() - entry.tips_kept >= _TIPS_AGAIN:
            entry.tips_kept = self._clock.seconds()
            self._background.start(self._keep(entry), f"note of {entry.identity.name}")

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

    # --- beginnings and ends ------------------------------------------------------------------------------------------

    async def _begin(
        self, identity: Identity, expected: InstanceState | None, voice: Voice, listing: Listing, number: int
    ) -> Verdict | None:
        """Begin a new instance in the place of another, unless that is no longer the present one.

        :return: None when it is to be judged anew.
        """
        await self._read(identity)
        entry = self._entries.get(identity.name)
        if (None if entry is None else entry.state) != expected:
            return None
        if expected is not None and self._new_ones.take(identity.host, 1):
            if expected.id:
                await self._replace(identity, InstanceState())
            return Verdict.ASIDE
        state = rules.begun(self._unique(), voice, listing, self._clock.now())
        if not await self._replace(identity, state):
            return None
        if expected is not None:
            self._entries[identity.name].evidence = number
        self.log.info(
            "{repository} is {kind}, and nothing that was kept of it before is served any more" if expected
            else "{repository} is {kind}",
            repository=identity.name,
            kind="public" if state.public else "private",
        )  # fmt: skip
        return Verdict.GOES_ON

    async def _replace(self, identity: Identity, state: InstanceState) -> bool:
        """Put a state in the place of the one that the replicas know; False when they know another one by now."""
        if self._shared is not None:
            try:
                await self._shared.write(identity.name, state)
            except Conflict:
                await self._read(identity)
                return False
        await self._become(identity, state)
        return True

    async def _become(self, identity: Identity, state: InstanceState) -> None:
        entry = self._entries.get(identity.name)
        before = None if entry is None else entry.state
        if entry is None:
            entry = self._entries[identity.name] = KnownInstance(identity, state)
        entry.state = state
        if before is not None and before.id != state.id:
            entry.era += 1
            self._resolve(entry, entry.era)
            if before.id:
                self._kept.ended(Instance(identity, before.id))
        await self._write_down(identity.name, state)

    async def refused(self, identity: Identity, credential: str | None, status: int, number: int) -> None:
        """Take notice of what an upstream has refused to somebody."""
        entry = self._entries.get(identity.name)
        if entry is None or status not in _ABOUT_RIGHTS or number < entry.evidence:
            return
        voice = await self._voice_of(identity, credential)
        if voice is Voice.CLIENT:
            alone = self._knows(identity, credential) and status in _GONE and not entry.state.voices
            after = replace(entry.state, trouble=Trouble.REFUSED) if alone else None
        else:
            after = rules.refused(entry.state, voice, Trouble.REFUSED)
        if after is None:
            return
        several = [] if voice is Voice.CLIENT else self._bad_hours.refused(identity, voice)
        await self._suspend(entry, Trouble.HOST if several else Trouble.REFUSED)
        for other in several:
            if (one := self._entries.get(other.name)) is not None and one.state.trouble is Trouble.REFUSED:
                await self._suspend(one, Trouble.HOST)

    async def _suspend(self, entry: KnownInstance, trouble: Trouble) -> None:
        if entry.state.trouble is Trouble.NONE or trouble is Trouble.HOST:
            self._suspect(entry, replace(entry.state, trouble=trouble))
            await self._keep(entry)

    def _suspect(self, entry: KnownInstance, state: InstanceState) -> None:
        """Take over what is known of an instance; once somebody was refused who used to be served, all ask anew."""
        before, entry.state = entry.state, state
        if state.trouble is Trouble.REFUSED is not before.trouble:
            self._void_verdicts(entry)

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

    # --- what fetches tell --------------------------------------------------------------------------------------------

    async def compared(self, instance: Instance, listing: Listing, *, related: bool) -> None:
        """Take notice of whether a listing shares history with an instance, now that its objects are here."""
        entry = self._entries.get(instance.identity.name)
        if entry is None or entry.state.id != instance.id:
            return
        doubt = entry.doubt
        if related:
            if doubt is not None and doubt.listing == listing:
                self._resolve(entry, doubt.floor)
                await self._go_on(entry, doubt.voice, listing)
        elif doubt is None:
            await self.end(instance.identity)
        else:
            floor = entry.floor
            self._disprove(entry)
            await self._begin(instance.identity, entry.state, doubt.voice, doubt.listing, doubt.number)
            if self.current(instance.identity) not in (None, instance):
                # Who was let in since the doubt was let in to what it turned out to be.
                entry.floor = floor
