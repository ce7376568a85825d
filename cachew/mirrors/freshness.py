"""The ref gate: what the upstream's refs are now, asked of it seldom and once.

Per repository and kind of listing at most one request is under way, and none is made while the last one is younger than
the interval, counted from its start. Whoever asks gets an answer that was begun no earlier than the interval before his
question; with an interval of zero, one that was begun after it. When the upstream fails, the mirror's own refs are the
answer, and the failure is remembered for the interval like any other answer. When it hangs, one client waits for it;
the next are answered at once, while a single probe goes on behind, more seldom each time.

Of a repository with very many refs the upstream is asked for what clients ask for and no more; all of its heads and
tags are asked for when somebody wants them, and now and then behind.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache

from cachew.mirrors.gatelisteners import GateListeners
from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import (
    LEAST,
    MIRRORED_KIND,
    NOTHING,
    Kind,
    is_mirrored,
    looked_for,
    narrowed,
    resolves,
    short_names,
)
from cachew.mirrors.knownrefs import KnownRefs
from cachew.mirrors.listings import Listings
from cachew.mirrors.pauses import UpstreamPauses
from cachew.mirrors.refknowledge import FAILURES, KeptOutcomes, MirroredListings, RefOutcome
from cachew.mirrors.refquestions import RefQuestions
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import UpstreamError
from cachew.plumbing.metrics import Metrics
from cachew.upstream.listing import Listing
from cachew.upstream.presented_credential import ShownCredentials, as_it_is
from cachew.upstream.remotes import Remotes
from cachew.upstream.verdictmemory import UpstreamChanges

_LIKE_OTHERS = 1024
"""Characters of prefixes up to which others are likely to ask for the very same."""
_REMEMBERED = 500


@dataclass(frozen=True)
class Answer:
    """What the gate says.

    :param listing: the refs.
    :param stale: whether they are the mirror's because the upstream failed.
    :param started: when the upstream was asked, by the gate's clock.
    """

    listing: Listing
    stale: bool = False
    started: float = field(default=0.0, compare=False)


class Freshness:
    """The ref gate of all repositories.

    :param questions: asks upstreams.
    :param kept: what they have said.
    :param mirrored: what mirrors have.
    :param pauses: which upstreams are not asked for now.
    :param listeners: who knows repositories by what their upstreams have listed.
    :param known: what is at hand of refs, however old.
    :param metrics: where stale answers are counted.
    """

    def __init__(
        self,
        *,
        questions: RefQuestions,
        kept: KeptOutcomes,
        mirrored: MirroredListings,
        pauses: UpstreamPauses,
        listeners: GateListeners,
        known: KnownRefs,
        metrics: Metrics,
    ) -> None:
        self.questions = questions
        self._kept = kept
        self.mirrored = mirrored
        self._pauses = pauses
        self._listeners = listeners
        self.known = known
        self._metrics = metrics
        self._looked_for = lru_cache(maxsize=_REMEMBERED)(looked_for)

    def keep_for(self, interval: float) -> None:
        """Take listings for good for so many seconds from now on."""
        self._kept.interval = interval

    @property
    def interval(self) -> float:
        """Seconds that a listing is good for."""
        return self._kept.interval

    async def answer(self, identity: Identity, prefixes: tuple[str, ...], authorization: str | None) -> Answer:
        """Answer a client's question for the refs under ``prefixes`` (none: all of them).

        :param authorization: the client's own ``Authorization``, which has been let in; None when none is needed.
        :raise UpstreamRefused: when the upstream refuses the client.
        :raise UpstreamError: when it fails and there is no mirror.
        """
        if self.mirrored.may_have_many(identity):
            return await self.refs(identity, self._enough(identity, prefixes), authorization)
        kind, names = (self._looked_for if sum(map(len, prefixes)) <= _LIKE_OTHERS else looked_for)(prefixes)
        if names is not None:
            answer = await self.refs(identity, MIRRORED_KIND, authorization)
            if answer.stale or resolves(answer.listing, names):
                return answer
        return await self.refs(identity, kind, authorization)

    async def named(self, identity: Identity, names: tuple[str, ...], authorization: str | None) -> Answer:
        """Answer what some refs are, by what has just been listed for the same client, or for others, if it tells that.

        :param names: their full names.
        :raise UpstreamError: as :meth:`answer` does.
        """
        kept = self._kept.telling(identity, names, self._kept.limit(None))
        return await self.answer(identity, names, authorization) if kept is None else self._answer(identity, kept)

    def knows(self, identity: Identity) -> bool:
        """Whether a repository is mirrored, or known by what its upstream has listed."""
        return self.mirrored.is_there(identity) or self._listeners.instances.knows(identity)

    def least(self, identity: Identity) -> Kind:
        """Return the kind of listing that shows that an upstream lets somebody read, and costs it little."""
        return self.mirrored.least(identity)

    def _enough(self, identity: Identity, prefixes: tuple[str, ...]) -> Kind:
        """Return which listing of very many refs is asked for: of all heads and tags only if that is there anyway.

        By its ``HEAD`` a repository is recognised that has no mirror.
        """
        kind = narrowed(prefixes if self.mirrored.is_there(identity) or not prefixes else (*prefixes, "HEAD"))
        whole = self._kept.answering((identity, MIRRORED_KIND), self._kept.limit(None), self._kept.newest)
        if not prefixes or whole is None or not isinstance(whole.result, Listing):
            return kind
        names = short_names(prefixes)
        answers = all(map(is_mirrored, prefixes)) or (names is not None and resolves(whole.result, names))
        return MIRRORED_KIND if answers else kind

    async def refs(
        self, identity: Identity, kind: Kind, authorization: str | None, *, interval: float | None = None
    ) -> Answer:
        """Return the refs of one kind.

        :param interval: how old they may be, in seconds; None for the configured interval.
        :raise UpstreamRefused: when the upstream refuses the client.
        :raise UpstreamError: when it fails and there is no mirror.
        """
        limit = self._kept.limit(interval)
        outcome = self._kept.answering((identity, kind), limit, self._kept.newest)
        if outcome is None:
            stale = self._stale_at_once(identity, authorization) if interval is None else None
            if stale is not None:
                return stale
            outcome = await self.questions.outcome((identity, kind), authorization, limit)
        return self._answer(identity, outcome)

    def _answer(self, identity: Identity, outcome: RefOutcome) -> Answer:
        mirrored = self.mirrored.listing(identity) if isinstance(outcome.result, FAILURES) else None
        if mirrored is None:
            return Answer(outcome.require(), started=outcome.started)
        self._metrics.stale.inc()
        return Answer(mirrored, stale=True)

    def _stale_at_once(self, identity: Identity, authorization: str | None) -> Answer | None:
        """Return what is answered while an upstream hangs: one client has waited for it, the others need not.

        :return: None when the upstream does not hang, or there is no mirror.
        """
        mirrored = self.mirrored.listing(identity) if self._pauses.hangs(identity) else None
        if mirrored is None:
            return None
        if self._pauses.over(identity):
            self.questions.ask_behind((identity, self.least(identity)), authorization)
        self._metrics.stale.inc()
        return Answer(mirrored, stale=True)

    async def probe(self, identity: Identity, authorization: str | None) -> bool:
        """Ask the upstream whether a credential may read a repository; its listing is kept like any other.

        :return: whether it may have what is kept of the repository, and not only what the upstream itself answers.
        :raise UpstreamRefused: when it may not.
        :raise UpstreamError: when the upstream fails.
        """
        # What it speaks is told once for all; the rights of others are asked for with refs, so that they last.
        knows = self.knows(identity) or await self.questions.tells(identity)
        kind = self.least(identity) if knows else NOTHING
        outcome = await self.questions.ask((identity, kind), authorization, as_it_is)
        outcome.require()
        return not outcome.aside

    async def begin(self, identity: Identity) -> None:
        """Have it found out which repository everybody sees under a name of which nothing is known.

        No question under way is joined as by :meth:`refs`: it may be one that waits for this.
        """
        if not self._listeners.instances.knows(identity):
            with suppress(UpstreamError):
                (await self.questions.ask((identity, LEAST), None, as_it_is)).require()

    def changed(self, identity: Identity) -> None:
        """Note that the upstream has just changed: nothing that was asked before counts any more."""
        self._kept.changes.note(identity.name)

    def forget(self, identity: Identity) -> None:
        """Keep nothing of what a repository's upstream has said."""
        self._kept.forget(identity)


def ref_gate(
    *,
    remotes: Remotes,
    clock: Clock,
    interval: float,
    metrics: Metrics,
    mirrored: MirroredListings,
    listings: Listings,
    listeners: GateListeners,
    presented: ShownCredentials | None = None,
    changes: UpstreamChanges | None = None,
) -> Freshness:
    """Make the ref gate.

    :param remotes: the ways to the upstreams.
    :param clock: where intervals come from.
    :param interval: seconds that a listing is good for.
    :param metrics: where requests and stale answers are counted.
    :param mirrored: what mirrors have.
    :param listings: the listings of all repositories that are at hand.
    :param listeners: who is told what upstreams say.
    :param presented: whose credential they are shown for a client; his own by default.
    :param changes: knows which upstreams have changed since they were asked.
    """
    kept = KeptOutcomes(listings=listings, clock=clock, interval=interval, changes=changes)
    pauses = UpstreamPauses(clock=clock, kept=kept)
    questions = RefQuestions(
        remotes=remotes,
        kept=kept,
        mirrored=mirrored,
        pauses=pauses,
        listeners=listeners,
        presented=ShownCredentials() if presented is None else presented,
        metrics=metrics,
    )
    return Freshness(
        questions=questions,
        kept=kept,
        mirrored=mirrored,
        pauses=pauses,
        listeners=listeners,
        known=KnownRefs(kept=kept, clock=clock),
        metrics=metrics,
    )
