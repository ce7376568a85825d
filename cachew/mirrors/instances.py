"""Which instance every repository is of now, and when a new one begins.

All that an upstream says comes by here before anything is done with it: what it listed is held against what is known of
the instance before anybody is served because of it. See :mod:`cachew.mirrors.instance` for what follows from what.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.internet.interfaces import IReactorTime

from cachew.mirrors import instance as rules
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance, InstanceState, Trouble, Verdict, Voice, judge
from cachew.mirrors.instancejournal import InstanceJournal
from cachew.mirrors.knowninstances import KnownInstance
from cachew.mirrors.sharedinstances import SharedInstances
from cachew.mirrors.voices import Voices
from cachew.mirrors.writteninstances import KeptHistory, WrittenInstances
from cachew.plumbing.allowance import Allowance
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import StorageUnavailable
from cachew.upstream.listing import Listing

_TRIES = 5
_ABOUT_RIGHTS = (401, 403, 404, 410)
_GONE = (404, 410)
_TIPS_AGAIN = 600.0


@dataclass(frozen=True, kw_only=True)
class Beginnings:
    """How new instances begin.

    :param unique: makes ids that nobody can guess.
    :param new_ones: how many of one host may follow on earlier ones in a minute.
    :param clock: tells when they do.
    """

    unique: Callable[[], str]
    clock: Clock
    new_ones: Allowance


class Instances(WrittenInstances):
    """Keeps the present instance of every repository, and hears what upstreams say about them.

    :param journal: where they are kept across restarts.
    :param shared: what replicas know, None where there is one server only.
    :param voices: as whom upstreams are asked.
    :param kept: what is kept of repositories.
    :param beginnings: how new ones begin.
    :param reactor: bounds waits.
    :param background: where others are told what nobody waits for.
    """

    def __init__(
        self,
        *,
        journal: InstanceJournal,
        shared: SharedInstances | None,
        voices: Voices,
        kept: KeptHistory,
        beginnings: Beginnings,
        reactor: IReactorTime,
        background: Background,
    ) -> None:
        super().__init__(journal=journal, shared=shared, kept=kept, reactor=reactor)
        self._voices = voices
        self._beginnings = beginnings
        self._background = background

    # --- what upstreams say -------------------------------------------------------------------------------------------

    async def listed(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> Verdict:
        """Take notice of what an upstream has listed, and say what that means.

        :param credential: what it was shown.
        :param number: of the question, so that an earlier one's answer changes nothing.
        """
        voice = await self._voices.of(identity, credential)
        self._voices.bad_hours.served(identity, voice)
        entry = self._entries.get(identity.name)
        known = voice is Voice.OWN or self._voices.knows(identity, credential)
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
        voice = await self._voices.of(identity, credential)
        if voice is Voice.CLIENT and not self._voices.knows(identity, credential):
            try:
                # A right that is new must not be one to what another replica knows to have ended.
                await self._read(identity)
            except StorageUnavailable:
                return False
        entry = self._entries.get(identity.name)
        if entry is None or entry.doubt is not None or number < entry.evidence:
            return False
        state, client = entry.state, voice is Voice.CLIENT
        known = voice is not Voice.ANONYMOUS or self.is_public(identity)
        quiet = state.trouble is Trouble.NONE and (client or (voice in state.voices and listing.base == state.base))
        if not (quiet and known and self._related(entry, voice, listing)):
            return False
        self._voices.bad_hours.served(identity, voice)
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
                await self._voices.ask_anonymously(identity)
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
                entry.resolve(entry.era + 1)
                entry.era += 1
            await self._go_on(entry, voice, listing)

    async def _go_on(self, entry: KnownInstance, voice: Voice, listing: Listing) -> None:
        before, after = entry.state, rules.gone_on(entry.state, voice, listing)
        entry.state = after
        if (before.voices, before.trouble, before.base) != (after.voices, after.trouble, after.base):
            await self._keep(entry)
        elif before != after and self._reactor.seconds() - entry.tips_kept >= _TIPS_AGAIN:
            entry.tips_kept = self._reactor.seconds()
            self._background.start(self._keep(entry), f"note of {entry.identity.name}")

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
        if expected is not None and self._beginnings.new_ones.take(identity.host, 1):
            if expected.id:
                await self._replace(identity, InstanceState())
            return Verdict.ASIDE
        state = rules.begun(self._beginnings.unique(), voice, listing, self._beginnings.clock.now())
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

    async def refused(self, identity: Identity, credential: str | None, status: int, number: int) -> None:
        """Take notice of what an upstream has refused to somebody."""
        entry = self._entries.get(identity.name)
        if entry is None or status not in _ABOUT_RIGHTS or number < entry.evidence:
            return
        voice = await self._voices.of(identity, credential)
        if voice is Voice.CLIENT:
            alone = self._voices.knows(identity, credential) and status in _GONE and not entry.state.voices
            after = replace(entry.state, trouble=Trouble.REFUSED) if alone else None
        else:
            after = rules.refused(entry.state, voice, Trouble.REFUSED)
        if after is None:
            return
        several = [] if voice is Voice.CLIENT else self._voices.bad_hours.refused(identity, voice)
        await self._suspend(entry, Trouble.HOST if several else Trouble.REFUSED)
        for other in several:
            if (one := self._entries.get(other.name)) is not None and one.state.trouble is Trouble.REFUSED:
                await self._suspend(one, Trouble.HOST)

    async def _suspend(self, entry: KnownInstance, trouble: Trouble) -> None:
        if entry.state.trouble is Trouble.NONE or trouble is Trouble.HOST:
            self._suspect(entry, replace(entry.state, trouble=trouble))
            await self._keep(entry)

    # --- what fetches tell --------------------------------------------------------------------------------------------

    async def compared(self, instance: Instance, listing: Listing, *, related: bool) -> None:
        """Take notice of whether a listing shares history with an instance, now that its objects are here."""
        entry = self._entries.get(instance.identity.name)
        if entry is None or entry.state.id != instance.id:
            return
        doubt = entry.doubt
        if related:
            if doubt is not None and doubt.listing == listing:
                entry.resolve(doubt.floor)
                await self._go_on(entry, doubt.voice, listing)
        elif doubt is None:
            await self.end(instance.identity)
        else:
            floor = entry.floor
            entry.disprove()
            await self._begin(instance.identity, entry.state, doubt.voice, doubt.listing, doubt.number)
            if self.current(instance.identity) not in (None, instance):
                # Who was let in since the doubt was let in to what it turned out to be.
                entry.floor = floor
