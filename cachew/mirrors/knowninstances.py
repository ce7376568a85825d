"""What this process knows of instances: eras, doubts, and what follows from them for who may read what is kept.

Nothing here asks anybody or waits for anything but the end of a doubt; :mod:`cachew.mirrors.instances` keeps it true.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from cachew.mirrors import instance as rules
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance, InstanceState, Trouble, Voice
from cachew.plumbing.waiters import Waiters
from cachew.upstream.listing import Listing


@dataclass(frozen=True)
class Doubt:
    """A listing that shares nothing with what is known of an instance, until a fetch has told what it is.

    :param voice: to whom it was listed.
    :param listing: what.
    :param number: of the question that it answered.
    :param floor: the era since which verdicts counted before.
    :param pending: whether a fetch that will tell is under way.
    :param unrelated: whether one has told that it is another repository, which could not be written down yet.
    """

    voice: Voice
    listing: Listing
    number: int
    floor: int
    pending: bool
    unrelated: bool = False


@dataclass
class KnownInstance:
    """What this process knows of one repository.

    :param state: of its instance.
    :param era: counts what makes earlier verdicts void.
    :param floor: the era since which verdicts count.
    :param evidence: the number of the question that its state is due to; answers to earlier ones come too late.
    :param doubt: whether it is the same repository; of a private one nothing that is kept is served meanwhile.
    :param tips_kept: when its tips were written down last.
    :param instance: the present one, once it was asked for.
    """

    identity: Identity
    state: InstanceState
    era: int = 0
    floor: int = 0
    evidence: int = 0
    doubt: Doubt | None = None
    tips_kept: float = float("-inf")
    instance: Instance | None = None
    waiting: Waiters = field(default_factory=Waiters)

    def resolve(self, floor: int) -> None:
        """End the doubt.

        :param floor: the era since which verdicts count.
        """
        self.doubt, self.floor = None, floor
        self.waiting.wake()

    def disprove(self) -> None:
        """Withhold what is kept of one that is known to have ended, though that can't be written down yet."""
        if self.doubt is not None:
            self.doubt = replace(self.doubt, unrelated=True)

    def void_verdicts(self) -> None:
        """Have everybody's right asked for anew."""
        self.era += 1
        self.floor = self.era
        if self.doubt is not None:
            self.doubt = replace(self.doubt, floor=self.floor)


class KnownInstances:
    """The present instances as far as this process knows them without asking.

    :param reactor: bounds waits.
    """

    def __init__(self, *, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._entries: dict[str, KnownInstance] = {}

    def current(self, identity: Identity) -> Instance | None:
        """Return the present instance, None while there is none."""
        entry = self._entries.get(identity.name)
        if entry is None or not entry.state.id:
            return None
        known = entry.instance
        if known is None or known.id != entry.state.id:
            known = entry.instance = Instance(entry.identity, entry.state.id)
        return known

    def knows(self, identity: Identity) -> bool:
        """Say whether there is a present instance."""
        return self.current(identity) is not None

    def id_of(self, identity: Identity) -> str:
        """Return the present instance's id, empty while there is none."""
        instance = self.current(identity)
        return "" if instance is None else instance.id

    def is_current(self, instance: Instance) -> bool:
        """Whether an instance is the present one of its repository."""
        entry = self._entries.get(instance.identity.name)
        return entry is not None and bool(instance.id) and entry.state.id == instance.id

    def readable(self, identity: Identity) -> Instance | None:
        """Return the instance of which somebody whom the upstream lets read may have what is kept.

        :return: None while there is none, or while it is in doubt whether a private one is still the same.
        """
        entry = self._entries.get(identity.name)
        if entry is None or (entry.doubt is not None and (entry.doubt.unrelated or not entry.state.public)):
            return None
        return self.current(identity)

    def readable_to_all(self, identity: Identity) -> Instance | None:
        """Return the same where nobody is asked who may read: not what the upstream has refused since."""
        entry = self._entries.get(identity.name)
        if entry is None or entry.state.trouble is Trouble.REFUSED:
            return None
        return self.readable(identity)

    def is_public(self, identity: Identity) -> bool:
        """Whether the present instance is one that the upstream has served to everybody, and not refused since."""
        entry = self._entries.get(identity.name)
        return entry is not None and entry.state.public and entry.state.trouble is Trouble.NONE

    def era(self, identity: Identity) -> int:
        """Return the number of the present era; verdicts are of the one in which they were given."""
        entry = self._entries.get(identity.name)
        return 0 if entry is None else entry.era

    def counts(self, identity: Identity, era: int) -> bool:
        """Whether a verdict of an era still counts."""
        entry = self._entries.get(identity.name)
        return entry is None or era >= entry.floor

    async def settled(self, identity: Identity, seconds: float) -> None:
        """Wait until it is no longer in doubt whether a repository is the same, but no longer than so many seconds."""
        entry = self._entries.get(identity.name)
        if entry is None or entry.doubt is None or not entry.doubt.pending:
            return
        with suppress(DeferredTimeout):
            await entry.waiting.wait().addTimeout(seconds, self._reactor)

    def _doubt(self, entry: KnownInstance, voice: Voice, listing: Listing, number: int, *, mirrored: bool) -> None:
        """Withhold what is kept of a private one until it is known whether a listing is of the same repository.

        :param mirrored: whether there is a mirror, so that its next fetch will tell.
        """
        before = entry.doubt
        if before is not None and rules.overlap(before.listing.oids(), listing.oids()):
            entry.doubt = replace(before, listing=listing, number=number, pending=mirrored)
        else:
            floor = entry.floor if before is None else before.floor
            # One that is known to have ended is no better for something else having come in its place since.
            unrelated = before is not None and before.unrelated
            entry.doubt = Doubt(voice, listing, number, floor, mirrored, unrelated)
            entry.era += 1
            if not entry.state.public:
                entry.floor = entry.era
        if not mirrored:
            entry.waiting.wake()

    def undecided(self, instance: Instance) -> None:
        """Take notice that a fetch failed which would have told whether it is the same: nobody waits for it now."""
        entry = self._entries.get(instance.identity.name)
        if entry is not None and entry.state.id == instance.id and entry.doubt is not None:
            entry.doubt = replace(entry.doubt, pending=False)
            entry.waiting.wake()

    def doubted_tips(self, instance: Instance, listing: Listing) -> Sequence[str] | None:
        """Return by which object ids an instance is recognised, None when it is certain that a listing is of it."""
        entry = self._entries.get(instance.identity.name)
        if entry is None or entry.state.id != instance.id or entry.doubt is None or entry.doubt.listing != listing:
            return None
        return entry.state.tips
