"""What is known of refs: what upstreams have said of theirs, as long as it counts, and what mirrors have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import EVERYTHING, LEAST, MANY_REFS, MIRRORED_KIND, Kind, Question, contradict, holds, is_part
from cachew.mirrors.listings import Listings
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.refs import of_listing, weight_of
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import UpstreamBusy, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from cachew.upstream.listing import Listing
from cachew.upstream.verdictmemory import UpstreamChanges

_PER_PREFIX = 100
_LOOKED_AT, _FEW_PREFIXES, _FEW_NAMES = 200, 50, 8
"""How many listings are looked through for what tells of some refs, of how many prefixes each, and for how many."""
_FAILURE = 1000
"""Bytes that a kept failure and a kept prefix are taken for."""
FAILURES = (UpstreamUnreachable, UpstreamTimeout, UpstreamBusy)
OF_ALL = (MIRRORED_KIND, EVERYTHING)


@dataclass
class RefOutcome:
    """A request to the upstream: its place in the order of requests, its start, and what came of it.

    :param authorization: the credential of the client that it was made for.
    :param shown: the one that the upstream was shown.
    :param void: whether something newer has proved it wrong.
    :param alone: whether what was listed is for this client alone.
    :param aside: whether it says nothing about the repository that the name stands for.
    :param took: seconds until it came.
    """

    number: int
    started: float
    authorization: str | None = field(repr=False)
    shown: str | None = field(default=None, repr=False)
    result: Listing | UpstreamError | None = None
    void: bool = False
    alone: bool = False
    aside: bool = False
    took: float = 0.0

    @property
    def listing(self) -> Listing | None:
        """What was listed, None when it failed."""
        return self.result if isinstance(self.result, Listing) else None

    def require(self) -> Listing:
        """Return what was listed.

        :raise UpstreamError: when it failed.
        """
        if isinstance(self.result, Listing):
            return self.result
        assert self.result is not None
        raise self.result.with_traceback(None)


@dataclass(frozen=True)
class Limit:
    """How old an answer may be.

    :param oldest: when its question may have been asked at the earliest, unless it came after who wants it.
    :param slow: seconds from which on a listing counts as one that takes long, None for never. Such a one is good for
        as long as it took: otherwise it would be too old as soon as it is there, and the next one under way for ever.
    """

    oldest: float
    slow: float | None

    def allows(self, outcome: RefOutcome, now: float) -> bool:
        """Say whether an outcome is young enough."""
        if isinstance(outcome.result, UpstreamBusy) and outcome.started + outcome.took + outcome.result.lasts <= now:
            return False
        if outcome.started > self.oldest:
            return True
        slow = self.slow is not None and outcome.took > self.slow and isinstance(outcome.result, Listing)
        return slow and outcome.started + 2 * outcome.took > now


class KeptOutcomes:
    """What upstreams have said, by repository and kind of listing.

    :param listings: where it is kept with the listings of all repositories.
    :param clock: tells how old it is.
    :param interval: seconds that a listing is good for.
    :param changes: numbers requests, and knows which upstreams have changed since.
    :ivar newest: the number of the newest request.
    """

    def __init__(
        self, *, listings: Listings, clock: Clock, interval: float, changes: UpstreamChanges | None = None
    ) -> None:
        self._listings = listings
        self._clock = clock
        self.interval = interval
        self.changes = UpstreamChanges() if changes is None else changes
        self.newest = 0

    def limit(self, interval: float | None) -> Limit:
        """Return how old an answer may be.

        :param interval: in seconds; None for the configured one.
        """
        if interval is not None:
            return Limit(self._clock.seconds() - interval, None)
        return Limit(self._clock.seconds() - self.interval, self.interval or None)

    def begin(self, authorization: str | None) -> RefOutcome:
        """Return the beginning of a new request.

        :param authorization: the credential of the client that it is made for.
        """
        self.newest = self.changes.ask()
        return RefOutcome(self.newest, self._clock.seconds(), authorization)

    def age(self, outcome: RefOutcome) -> float:
        """Return how many seconds ago a request was begun."""
        return self._clock.seconds() - outcome.started

    def get(self, question: Question) -> RefOutcome | None:
        """Return what came of a question last, however old it is."""
        outcome: RefOutcome | None = self._listings.get(*question)
        return outcome

    def listing(self, question: Question) -> Listing | None:
        """Return what was listed last, however old it is; None when that failed."""
        kept = self.get(question)
        return None if kept is None else kept.listing

    def questions(self, identity: Identity) -> list[Question]:
        """Return of which questions something is kept."""
        kinds = self._listings.keys(identity)
        return [(identity, kind) for kind in kinds if not isinstance(kind, str)]

    def answering(self, question: Question, limit: Limit, arrived: int) -> RefOutcome | None:
        """Return what is kept that answers a question: its own outcome, or a listing of everything.

        :param arrived: the number of the newest request when it came.
        """
        identity = question[0]
        for asked in (question, (identity, EVERYTHING)):
            kept = self.get(asked)
            if (
                kept
                and self.counts(identity, kept, limit, arrived)
                and (asked == question or isinstance(kept.result, Listing))
            ):
                return kept
        return None

    def telling(self, identity: Identity, names: Sequence[str], limit: Limit) -> RefOutcome | None:
        """Return a listing of a part that is kept and tells of all of a few refs; not all that are kept are looked at.

        :param names: their full names.
        """
        for question in self.questions(identity)[:_LOOKED_AT] if len(names) <= _FEW_NAMES else ():
            if len(question[1] or ()) <= _FEW_PREFIXES and all(holds(question[1], name) for name in names):
                kept = self.answering(question, limit, self.newest)
                if kept is not None and isinstance(kept.result, Listing):
                    return kept
        return None

    def counts(self, identity: Identity, outcome: RefOutcome, limit: Limit, arrived: int) -> bool:
        """Say whether an outcome answers who came when a number was the newest."""
        if outcome.void or self.changes.void(identity.name, outcome.number):
            return False
        return limit.allows(outcome, self._clock.seconds()) or outcome.number > arrived

    def forget(self, identity: Identity) -> None:
        """Keep nothing of what a repository's upstream has said."""
        for question in self.questions(identity):
            self._listings.drop(*question)
        self.changes.note(identity.name)

    def put(self, question: Question, outcome: RefOutcome) -> None:
        """Keep an outcome, unless there is a newer one."""
        kept = self.get(question)
        if kept is not None and kept.number > outcome.number:
            return
        (identity, kind), result = question, outcome.result
        weight = (weight_of(result) if isinstance(result, Listing) else _FAILURE) + _PER_PREFIX * len(kind or ())
        kept = replace(outcome, authorization=None, shown=None)
        self._listings.put(identity, kind, kept, weight, made_up=kind not in OF_ALL)

    def take(self, question: Question, outcome: RefOutcome, listing: Listing) -> RefOutcome:
        """Keep a listing that is everybody's who may read the repository, and nothing that it proves wrong.

        :return: its outcome, with the very listing of the time before if nothing has changed: what was made of it is
            still good.
        """
        before = self.listing(question)
        listing = before if before is not None and before == listing else listing
        outcome = replace(outcome, result=listing)
        self.put(question, outcome)
        self._drop_contradicted(*question, outcome.number, listing)
        return outcome

    def _drop_contradicted(self, identity: Identity, kind: Kind, number: int, listing: Listing) -> None:
        """Forget an older listing of everything, or of heads and tags, that the newest one proves wrong.

        Otherwise clients of v0 and of v2, who ask for different kinds, would see different moments.
        """
        if kind in OF_ALL or is_part(kind):
            self._void_contradicted(identity, kind, number, listing)
        other = {MIRRORED_KIND: EVERYTHING, EVERYTHING: MIRRORED_KIND}.get(kind, kind)
        kept = self.get((identity, other))
        if other == kind or kept is None or kept.number > number or not isinstance(kept.result, Listing):
            return
        if of_listing(kept.result) != of_listing(listing):
            self._listings.drop(identity, other)

    def _void_contradicted(self, identity: Identity, kind: Kind, number: int, listing: Listing) -> None:
        """Have older listings asked for again that a newer one proves wrong, where either is one of a part."""
        for other in [other for _, other in self.questions(identity) if is_part(other) or is_part(kind)]:
            kept = self.get((identity, other))
            older = kept is not None and kept.number < number and not kept.void
            if older and kept is not None and isinstance(kept.result, Listing):
                kept.void = contradict(listing, kind, kept.result, other)


@dataclass(frozen=True, kw_only=True)
class MirroredListings:
    """What mirrors have, as far as the ref gate needs it.

    :param ready: returns the mirror of a repository, or None while it has none that serves.
    """

    ready: Callable[[Identity], Mirror | None]

    def serves(self, identity: Identity) -> bool:
        """Whether a repository has a mirror that serves."""
        return self.ready(identity) is not None

    def listing(self, identity: Identity) -> Listing | None:
        """Return what a repository's mirror was last brought to, None when it has no mirror."""
        mirror = self.ready(identity)
        return None if mirror is None else mirror.refs.listing

    def count(self, identity: Identity) -> int:
        """Return how many refs a repository's mirror has, 0 when it has no mirror."""
        mirror = self.ready(identity)
        return 0 if mirror is None else mirror.refs.summary.refs

    def has_many(self, identity: Identity) -> bool:
        """Whether a repository is mirrored and has so many refs that only what is wanted is asked for."""
        return self.count(identity) > MANY_REFS

    def is_there(self, identity: Identity) -> bool:
        """Whether a repository has a mirror that serves, with refs."""
        return self.count(identity) > 0

    def may_have_many(self, identity: Identity) -> bool:
        """Whether a repository has very many refs, or it is not known yet how many."""
        return not 0 < self.count(identity) <= MANY_REFS

    def least(self, identity: Identity) -> Kind:
        """Return the kind of listing that shows that an upstream lets somebody read, and costs it little."""
        return LEAST if self.may_have_many(identity) else MIRRORED_KIND

    def is_part(self, question: Question) -> bool:
        """Whether a question is bounded to some of the heads and tags, because there are, or may be, so many."""
        return is_part(question[1]) and self.may_have_many(question[0])
