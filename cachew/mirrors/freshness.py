"""The ref gate: what the upstream's refs are now, asked of it seldom and once.

Per repository and kind of listing at most one request is under way, and none is made while the last one is younger than
the interval, counted from its start. Whoever asks gets an answer that was begun no earlier than the interval before his
question; with an interval of zero, one that was begun after it. When the upstream fails, the mirror's own refs are the
answer, and the failure is remembered for the interval like any other answer. When it hangs, one client waits for it;
the next are answered at once, while a single probe goes on behind, more seldom each time.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Verdict
from cachew.mirrors.kinds import EVERYTHING, MIRRORED_KIND, Kind, exact_kind, resolves, short_names
from cachew.mirrors.listings import Listings, weight_of
from cachew.mirrors.refs import of_listing
from cachew.plumbing.errors import UpstreamBusy, UpstreamError, UpstreamRefused, UpstreamTimeout, UpstreamUnreachable
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.remembered import Expiring
from cachew.plumbing.shared import Shared
from cachew.upstream.listing import Listing
from cachew.upstream.presented_credential import Shown, as_it_is
from cachew.upstream.remote import Remotes

_LONG = 0.5
"""Seconds after which a failure was waited for."""
_FIRST_PAUSE = 1.0
_LAST_PAUSE = 10.0
_TROUBLE_COUNTS = 3600.0
_MOST_TROUBLES = 10_000
_PER_PREFIX = 100
_FAILURE = 1000
"""Bytes that a kept failure and a kept prefix are taken for."""
_OF_ALL = (MIRRORED_KIND, EVERYTHING)
_EVERYBODYS = (Verdict.GOES_ON, Verdict.DOUBT)
_LETTING_IN = (Verdict.GOES_ON, Verdict.DOUBT, Verdict.PRIVATELY)
_FAILURES = (UpstreamUnreachable, UpstreamTimeout, UpstreamBusy)

Question = tuple[Identity, Kind]


class Hearing(Protocol):
    """Is told whatever upstreams say; see :class:`cachew.mirrors.instances.Instances`."""

    async def listed(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> Verdict:
        """Say what a listing of heads and tags, or of everything, means for what is kept.

        :param credential: what the upstream was shown.
        :param number: of the question; later ones have higher numbers.
        """

    async def refused(self, identity: Identity, credential: str | None, status: int, number: int) -> None:
        """Take notice of a refusal."""


class HearsNothing:
    """Takes every listing for one of the same repository, and everybody's."""

    async def listed(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> Verdict:
        """Say that it goes on."""
        return Verdict.GOES_ON

    async def refused(self, identity: Identity, credential: str | None, status: int, number: int) -> None:
        """Do nothing."""


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


@dataclass
class _Outcome:
    """A request to the upstream: its place in the order of requests, its start, and what came of it.

    :param authorization: the credential of the client that it was made for.
    :param shown: the one that the upstream was shown.
    :param void: whether the upstream has changed since it was asked.
    :param alone: whether what was listed is for this client alone.
    :param aside: whether it says nothing about the repository that the name stands for.
    """

    number: int
    started: float
    authorization: str | None = field(repr=False)
    shown: str | None = field(default=None, repr=False)
    result: Listing | UpstreamError | None = None
    void: bool = False
    alone: bool = False
    aside: bool = False


@dataclass(frozen=True)
class _Trouble:
    """An upstream that hangs: how long it is left alone, and when it is asked again."""

    pause: float
    again_at: float


class Freshness:
    """The ref gate of all repositories.

    :param remotes: the ways to the upstreams.
    :param clock: where intervals come from.
    :param interval: seconds that a listing is good for.
    :param metrics: where stale answers are counted.
    :param fallback: the refs of a repository's mirror, or None while it has none that serves.
    :param on_listing: called with each new listing of heads and tags or of everything, and its start.
    :param on_verdict: called with each repository, credential and refusal, or None when the upstream served it.
    :param on_changed: called with each repository that has just changed.
    :param hearing: takes notice of whatever upstreams say before anything is done with it, if anybody does.
    :param shown: says whose credential ref checks show for a client.
    :param shown_alone: says whose is shown for listings of other kinds.
    :param listings: the listings of all repositories that are at hand.
    """

    log = Logger()

    def __init__(
        self,
        *,
        remotes: Remotes,
        clock: IReactorTime,
        interval: float,
        metrics: Metrics,
        fallback: Callable[[Identity], Listing | None],
        on_listing: Callable[[Identity, Listing, float], None],
        on_verdict: Callable[[Identity, str | None, UpstreamRefused | None], None] = lambda *verdict: None,
        on_changed: Callable[[Identity], object] = lambda identity: None,
        listings: Listings,
        hearing: Hearing | None = None,
        shown: Shown = as_it_is,
        shown_alone: Shown = as_it_is,
    ) -> None:
        self._remotes = remotes
        self._clock = clock
        self._interval = interval
        self._metrics = metrics
        self._fallback = fallback
        self._on_listing = on_listing
        self._on_verdict = on_verdict
        self._hearing = HearsNothing() if hearing is None else hearing
        self._shown, self._shown_alone = shown, shown_alone
        self._listings, self._on_changed = listings, on_changed
        self._flights: dict[Question, _Outcome] = {}
        self._shared: Shared[Question, _Outcome] = Shared(keep=True)
        self._troubles: Expiring[Identity, _Trouble] = Expiring(seconds=clock.seconds, capacity=_MOST_TROUBLES)
        self._number = 0
        self._asking: Counter[Identity] = Counter()
        self._changed: dict[Identity, int] = {}

    @property
    def interval(self) -> float:
        """Seconds that a listing is good for."""
        return self._interval

    async def answer(self, identity: Identity, prefixes: tuple[str, ...], authorization: str | None) -> Answer:
        """Answer a client's question for the refs under ``prefixes`` (none: all of them).

        :param authorization: the client's own ``Authorization``, which has been let in; None when none is needed.
        :raise UpstreamRefused: when the upstream refuses the client.
        :raise UpstreamError: when it fails and there is no mirror.
        """
        kind = exact_kind(prefixes)
        names = short_names(prefixes) if prefixes else None
        if kind != MIRRORED_KIND and names is not None:
            answer = await self.refs(identity, MIRRORED_KIND, authorization)
            if answer.stale or resolves(answer.listing, names):
                return answer
        return await self.refs(identity, kind, authorization)

    async def refs(
        self, identity: Identity, kind: Kind, authorization: str | None, *, interval: float | None = None
    ) -> Answer:
        """Return the refs of one kind.

        :param interval: how old they may be, in seconds; None for the configured interval.
        :raise UpstreamRefused: when the upstream refuses the client.
        :raise UpstreamError: when it fails and there is no mirror.
        """
        oldest = self._clock.seconds() - (self._interval if interval is None else interval)
        if interval is None and (stale := self._stale_at_once(identity, kind, authorization, oldest)) is not None:
            return stale
        outcome = await self._outcome(identity, kind, authorization, oldest)
        if isinstance(outcome.result, Listing):
            return Answer(outcome.result, started=outcome.started)
        mirrored = self._fallback(identity)
        if isinstance(outcome.result, _FAILURES) and mirrored is not None:
            self._metrics.stale.inc()
            return Answer(mirrored, stale=True)
        assert outcome.result is not None
        raise outcome.result.with_traceback(None)

    def _stale_at_once(self, identity: Identity, kind: Kind, authorization: str | None, oldest: float) -> Answer | None:
        """Return what is answered while an upstream hangs: one client has waited for it, the others need not.

        :return: None when the upstream does not hang, or something newer is known, or there is no mirror.
        """
        trouble = self._troubles.get(identity)
        if trouble is None or self._kept_for((identity, kind), oldest, self._number) is not None:
            return None
        mirrored = self._fallback(identity)
        if mirrored is None:
            return None
        question = (identity, MIRRORED_KIND)
        if self._clock.seconds() >= trouble.again_at and question not in self._shared:
            probing = Deferred.fromCoroutine(self._shared.run(question, lambda: self._check(question, authorization)))
            probing.addErrback(self._probe_failed, identity)
        self._metrics.stale.inc()
        return Answer(mirrored, stale=True)

    def _probe_failed(self, failure: Failure, identity: Identity) -> None:
        if not failure.check(CancelledError):
            self.log.failure("ref check of {repository} failed", failure=failure, repository=identity.name)

    async def probe(self, identity: Identity, authorization: str | None) -> bool:
        """Ask the upstream whether a credential may read a repository; its listing is kept like any other.

        :return: whether it may have what is kept of the repository, and not only what the upstream itself answers.
        :raise UpstreamRefused: when it may not.
        :raise UpstreamError: when the upstream fails.
        """
        outcome = await self._ask((identity, MIRRORED_KIND), authorization, as_it_is)
        if not isinstance(outcome.result, Listing):
            assert outcome.result is not None
            raise outcome.result.with_traceback(None)
        return not outcome.aside

    def known(self, identity: Identity) -> Listing | None:
        """Return the newest listing of heads and tags without asking anyone."""
        kept = self._newest(identity)
        return kept.result if kept is not None and isinstance(kept.result, Listing) else None

    def checked(self, identity: Identity, now: float) -> float | None:
        """Return when the upstream last said what its heads and tags are, on the scale of ``now``; None for never."""
        kept = self._newest(identity)
        if kept is None or not isinstance(kept.result, Listing):
            return None
        return now - (self._clock.seconds() - kept.started)

    def asked_within(self, identity: Identity, seconds: float) -> bool:
        """Whether the upstream has been asked for its heads and tags, or for everything, within so many seconds."""
        kept = (self._kept((identity, kind)) for kind in _OF_ALL)
        return any(one is not None and self._clock.seconds() - one.started <= seconds for one in kept)

    def failure(self, identity: Identity) -> UpstreamError | None:
        """Return why the upstream could not say what its heads and tags are when last asked; None if it could."""
        kept = self._newest(identity)
        return kept.result if kept is not None and isinstance(kept.result, UpstreamError) else None

    def _newest(self, identity: Identity) -> _Outcome | None:
        return self._kept((identity, MIRRORED_KIND)) or self._kept((identity, EVERYTHING))

    def _kept(self, question: Question) -> _Outcome | None:
        outcome: _Outcome | None = self._listings.get(*question)
        return outcome

    def changed(self, identity: Identity) -> None:
        """Note that the upstream has just changed: nothing that was asked before counts any more."""
        for question in self._questions(identity):
            if (kept := self._kept(question)) is not None:
                kept.void = True
        if self._asking[identity]:
            self._changed[identity] = self._number
        self._on_changed(identity)

    @property
    def changes_remembered(self) -> int:
        """Of how many repositories it is remembered that they changed: those that are being asked about."""
        return len(self._changed)

    def forget(self, identity: Identity) -> None:
        """Keep nothing of what a repository's upstream has said."""
        for question in self._questions(identity):
            self._listings.drop(*question)
        if self._asking[identity]:
            self._changed[identity] = self._number

    def _questions(self, identity: Identity) -> list[Question]:
        kinds = self._listings.keys(identity)
        return [(identity, kind) for kind in kinds if not isinstance(kind, str)]

    async def stop(self) -> None:
        """Break off the questions under way."""
        await self._shared.stop()

    async def _outcome(self, identity: Identity, kind: Kind, authorization: str | None, oldest: float) -> _Outcome:
        arrived = self._number
        question = (identity, kind)
        while True:
            if (kept := self._kept_for(question, oldest, arrived)) is not None:
                return kept
            flight = self._flights.get(question)
            joinable = flight is None or self._counts(identity, flight, oldest, arrived)
            outcome = await self._shared.run(question, lambda: self._check(question, authorization))
            personal = outcome.alone or isinstance(outcome.result, UpstreamRefused)
            if personal and outcome.authorization != authorization:
                # Somebody else's answer; with our own credential it may be another matter.
                joinable = False
            if joinable:
                return outcome

    def _kept_for(self, question: Question, oldest: float, arrived: int) -> _Outcome | None:
        """Return what is kept that answers a question: its own outcome, or a listing of everything."""
        identity = question[0]
        for asked in (question, (identity, EVERYTHING)):
            kept = self._kept(asked)
            if (
                kept
                and self._counts(identity, kept, oldest, arrived)
                and (asked == question or isinstance(kept.result, Listing))
            ):
                return kept
        return None

    def _counts(self, identity: Identity, outcome: _Outcome, oldest: float, arrived: int) -> bool:
        if outcome.void or outcome.number <= self._changed.get(identity, 0):
            return False
        return outcome.started > oldest or outcome.number > arrived

    async def _check(self, question: Question, authorization: str | None) -> _Outcome:
        # What is shared by all clients is asked for with one credential; the rest, which says nothing of the repository
        # as a whole, with that of who wants it.
        shown = self._shown if question[1] in _OF_ALL else self._shown_alone
        outcome = await self._ask(question, authorization, shown)
        if isinstance(outcome.result, UpstreamRefused) and authorization not in (None, outcome.shown):
            # It was the server's own credential that was refused.
            return await self._ask(question, authorization, as_it_is)
        return outcome

    async def _ask(self, question: Question, authorization: str | None, shown: Shown) -> _Outcome:
        identity = question[0]
        self._asking[identity] += 1
        try:
            return await self._ask_upstream(question, authorization, shown)
        finally:
            self._asking[identity] -= 1
            if not self._asking[identity]:
                # No answer is to come any more that was asked for before the change.
                del self._asking[identity]
                self._changed.pop(identity, None)

    async def _ask_upstream(self, question: Question, authorization: str | None, shown: Shown) -> _Outcome:
        verdict = Verdict.LATE
        while verdict is Verdict.LATE:
            self._number += 1
            begun = _Outcome(self._number, self._clock.seconds(), authorization)
            self._flights.setdefault(question, begun)
            try:
                outcome, verdict = await self._heard(question, begun, shown)
            finally:
                if self._flights.get(question) is begun:
                    del self._flights[question]
        if isinstance(outcome.result, Listing) and verdict in _EVERYBODYS:
            return self._taken(question, outcome, outcome.result)
        if isinstance(outcome.result, _FAILURES):
            self._keep(question, outcome)
            name, error = question[0].name, str(outcome.result)
            self.log.warn("ref check of {repository} failed: {error}", repository=name, error=error)
        return replace(outcome, alone=isinstance(outcome.result, Listing), aside=verdict is Verdict.ASIDE)

    async def _heard(self, question: Question, begun: _Outcome, shown: Shown) -> tuple[_Outcome, Verdict]:
        """Ask the upstream, and have what it says taken notice of before anybody is served because of it."""
        identity, kind = question
        result: Listing | UpstreamError
        credential: str | None = None
        try:
            credential = await shown(identity, begun.authorization)
            result = await self._remotes.of(identity).list(kind, credential, self._listing_before(question))
        except UpstreamError as error:
            result = error
        self._metrics.ref_checks.labels(_outcome_in_words(result)).inc()
        self._note_trouble(identity, begun.started, result)
        verdict = Verdict.GOES_ON
        if isinstance(result, Listing) and kind in _OF_ALL:
            verdict = await self._hearing.listed(identity, credential, result, begun.number)
            if verdict in _LETTING_IN:
                self._on_verdict(identity, credential, None)
        # What was refused before a push may be there now.
        elif isinstance(result, UpstreamRefused) and begun.number > self._changed.get(identity, 0):
            await self._hearing.refused(identity, credential, result.status, begun.number)
            self._on_verdict(identity, credential, result)
        return replace(begun, shown=credential, result=result), verdict

    def _taken(self, question: Question, outcome: _Outcome, listing: Listing) -> _Outcome:
        """Keep a listing that is everybody's who may read the repository."""
        identity, kind = question
        listing = self._same_as_before(question, listing)
        outcome = replace(outcome, result=listing)
        self._keep(question, outcome)
        self._drop_contradicted(identity, kind, outcome.number, listing)
        if kind in _OF_ALL:
            self._on_listing(identity, listing, outcome.started)
        return outcome

    def _note_trouble(self, identity: Identity, started: float, result: Listing | UpstreamError) -> None:
        """Remember an upstream that hangs: whose failure was waited for."""
        now, known = self._clock.seconds(), self._troubles.get(identity)
        if not isinstance(result, _FAILURES):
            self._troubles.forget(identity)
        elif known is not None or now - started >= _LONG:
            pause = _FIRST_PAUSE if known is None else min(2 * known.pause, max(_LAST_PAUSE, self._interval))
            self._troubles.put(identity, _Trouble(pause, now + pause), _TROUBLE_COUNTS)

    def _same_as_before(self, question: Question, listing: Listing) -> Listing:
        """Return the very listing of the time before, if nothing has changed: what was made of it is still good."""
        before = self._listing_before(question)
        return before if before == listing else listing

    def _listing_before(self, question: Question) -> Listing | None:
        kept = self._kept(question)
        return kept.result if kept is not None and isinstance(kept.result, Listing) else None

    def _drop_contradicted(self, identity: Identity, kind: Kind, number: int, listing: Listing) -> None:
        """Forget an older listing of everything, or of heads and tags, that the newest one proves wrong.

        Otherwise clients of v0 and of v2, who ask for different kinds, would see different moments.
        """
        other = {MIRRORED_KIND: EVERYTHING, EVERYTHING: MIRRORED_KIND}.get(kind, kind)
        kept = self._kept((identity, other))
        if other == kind or kept is None or kept.number > number or not isinstance(kept.result, Listing):
            return
        if of_listing(kept.result) != of_listing(listing):
            self._listings.drop(identity, other)

    def _keep(self, question: Question, outcome: _Outcome) -> None:
        kept = self._kept(question)
        if kept is not None and kept.number > outcome.number:
            return
        (identity, kind), result = question, outcome.result
        weight = (weight_of(result) if isinstance(result, Listing) else _FAILURE) + _PER_PREFIX * len(kind or ())
        void = outcome.number <= self._changed.get(identity, 0)
        kept = replace(outcome, authorization=None, shown=None, void=void)
        self._listings.put(identity, kind, kept, weight, made_up=kind not in _OF_ALL)


def _outcome_in_words(result: Listing | UpstreamError) -> str:
    return "ok" if isinstance(result, Listing) else "refused" if isinstance(result, UpstreamRefused) else "failed"
