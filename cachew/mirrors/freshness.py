"""The ref gate: what the upstream's refs are now, asked of it seldom and once.

Per repository and kind of listing at most one request is under way, and none is made while the last one is younger than
the interval, counted from its start. Whoever asks gets an answer that was begun no earlier than the interval before his
question; with an interval of zero, one that was begun after it. When the upstream fails, the mirror's own refs are the
answer, and the failure is remembered for the interval like any other answer. When it hangs, one client waits for it;
the next are answered at once, while a single probe goes on behind, more seldom each time.

Of a repository with very many refs the upstream is asked for what clients ask for and no more; all of its heads and
tags are asked for when somebody wants them, and now and then behind.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.mirrors.hearing import Hearing, HearsNothing
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Verdict
from cachew.mirrors.kinds import (
    EVERYTHING,
    LEAST,
    MANY_REFS,
    MIRRORED_KIND,
    Kind,
    contradict,
    exact_kind,
    is_mirrored,
    is_part,
    narrowed,
    resolves,
    short_names,
    witnesses,
)
from cachew.mirrors.listings import Listings, weight_of
from cachew.mirrors.refs import of_listing
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import UpstreamBusy, UpstreamError, UpstreamRefused, UpstreamTimeout, UpstreamUnreachable
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.remembered import Expiring
from cachew.plumbing.shared import Shared
from cachew.upstream.listing import Listing
from cachew.upstream.manyrefs import ManyRefs
from cachew.upstream.presented_credential import Shown, as_it_is
from cachew.upstream.remotes import Remotes

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
_ALL_AGAIN = 600.0
_ALL_AFTER_INTERVALS = 60
"""Seconds and intervals, whichever is longer, after which all heads and tags are asked for that nobody asks for."""
_REMEMBERED = 86400.0
_EVERYBODYS = (Verdict.GOES_ON, Verdict.DOUBT)
_LETTING_IN = (Verdict.GOES_ON, Verdict.DOUBT, Verdict.PRIVATELY)
_FAILURES = (UpstreamUnreachable, UpstreamTimeout, UpstreamBusy)

Question = tuple[Identity, Kind]


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


@dataclass(frozen=True)
class _Limit:
    """How old an answer may be.

    :param oldest: when its question may have been asked at the earliest, unless it came after who wants it.
    :param slow: seconds from which on a listing counts as one that takes long, None for never. Such a one is good for
        as long as it took: otherwise it would be too old as soon as it is there, and the next one under way for ever.
    """

    oldest: float
    slow: float | None

    def allows(self, outcome: _Outcome, now: float) -> bool:
        if outcome.started > self.oldest:
            return True
        slow = self.slow is not None and outcome.took > self.slow and isinstance(outcome.result, Listing)
        return slow and outcome.started + 2 * outcome.took > now


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
    :param refs_of: how many refs a repository's mirror has, 0 while it has none that serves; counted in ``fallback``
        by default, for which very many have to be at hand.
    :param on_listing: called with each new listing of heads and tags or of everything, and its start.
    :param on_part: called with each new listing of a part of them, after what it was bounded to.
    :param on_verdict: called with each repository, credential and refusal, or None when the upstream served it.
    :param on_changed: each is called with each repository that has just changed.
    :param on_asked: called with each repository whose upstream was asked, and what came of it.
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
        clock: Clock,
        interval: float,
        metrics: Metrics,
        fallback: Callable[[Identity], Listing | None],
        refs_of: Callable[[Identity], int] | None = None,
        on_listing: Callable[[Identity, Listing, float], None],
        on_part: Callable[[Identity, Kind, Listing, float], None] = lambda *part: None,
        on_verdict: Callable[[Identity, str | None, UpstreamRefused | None], None] = lambda *verdict: None,
        on_changed: Sequence[Callable[[Identity], object]] = (),
        on_asked: Callable[[Identity, Listing | UpstreamError], object] = lambda *asked: None,
        listings: Listings,
        hearing: Hearing | None = None,
        shown: Shown = as_it_is,
        shown_alone: Shown = as_it_is,
    ) -> None:
        self._remotes = remotes
        self._clock = clock
        self.keep_for(interval)
        self._metrics = metrics
        self._fallback, self._refs_of = fallback, refs_of or self._counted
        self._on_listing, self._on_part = on_listing, on_part
        self._on_verdict = on_verdict
        self._on_asked = on_asked
        self._hearing = HearsNothing() if hearing is None else hearing
        self._shown, self._shown_alone = shown, shown_alone
        self._listings, self._on_changed = listings, on_changed
        self._flights: dict[Question, _Outcome] = {}
        self._shared: Shared[Question, _Outcome] = Shared(keep=True)
        self._troubles: Expiring[Identity, _Trouble] = Expiring(clock=clock, capacity=_MOST_TROUBLES)
        self._all_again: Expiring[Identity, float] = Expiring(clock=clock, capacity=_MOST_TROUBLES)
        self._number = 0
        self._asking: Counter[Identity] = Counter()
        self._changed: dict[Identity, int] = {}

    def keep_for(self, interval: float) -> None:
        """Take listings for good for so many seconds from now on."""
        self._interval = interval

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
        if self.has_many(identity):
            return await self.refs(identity, self._enough(identity, prefixes), authorization)
        kind = exact_kind(prefixes)
        names = short_names(prefixes) if prefixes else None
        if kind != MIRRORED_KIND and names is not None:
            answer = await self.refs(identity, MIRRORED_KIND, authorization)
            if answer.stale or resolves(answer.listing, names):
                return answer
        return await self.refs(identity, kind, authorization)

    def has_many(self, identity: Identity) -> bool:
        """Whether a repository is mirrored and has so many refs that only what is wanted is asked for."""
        return self._refs_of(identity) > MANY_REFS

    def _counted(self, identity: Identity) -> int:
        mirrored = self._fallback(identity)
        return 0 if mirrored is None else len(mirrored.refs)

    def least(self, identity: Identity) -> Kind:
        """Return the kind of listing that shows that an upstream lets somebody read, and costs it little."""
        return LEAST if self.has_many(identity) else MIRRORED_KIND

    def _enough(self, identity: Identity, prefixes: tuple[str, ...]) -> Kind:
        """Return which listing of very many refs is asked for: of all heads and tags only if that is there anyway."""
        kind = narrowed(prefixes)
        whole = self._kept_for((identity, MIRRORED_KIND), self._limit(None), self._number)
        if not prefixes or whole is None or not isinstance(whole.result, Listing):
            return kind
        names = short_names(prefixes)
        answers = all(map(is_mirrored, prefixes)) or (names is not None and resolves(whole.result, names))
        return MIRRORED_KIND if answers else kind

    def _limit(self, interval: float | None) -> _Limit:
        if interval is not None:
            return _Limit(self._clock.seconds() - interval, None)
        return _Limit(self._clock.seconds() - self._interval, self._interval or None)

    async def refs(
        self, identity: Identity, kind: Kind, authorization: str | None, *, interval: float | None = None
    ) -> Answer:
        """Return the refs of one kind.

        :param interval: how old they may be, in seconds; None for the configured interval.
        :raise UpstreamRefused: when the upstream refuses the client.
        :raise UpstreamError: when it fails and there is no mirror.
        """
        limit = self._limit(interval)
        if interval is None and (stale := self._stale_at_once(identity, kind, authorization, limit)) is not None:
            return stale
        outcome = await self._outcome(identity, kind, authorization, limit)
        if isinstance(outcome.result, Listing):
            return Answer(outcome.result, started=outcome.started)
        mirrored = self._fallback(identity)
        if isinstance(outcome.result, _FAILURES) and mirrored is not None:
            self._metrics.stale.inc()
            return Answer(mirrored, stale=True)
        assert outcome.result is not None
        raise outcome.result.with_traceback(None)

    def _stale_at_once(self, identity: Identity, kind: Kind, authorization: str | None, limit: _Limit) -> Answer | None:
        """Return what is answered while an upstream hangs: one client has waited for it, the others need not.

        :return: None when the upstream does not hang, or something newer is known, or there is no mirror.
        """
        trouble = self._troubles.get(identity)
        if trouble is None or self._kept_for((identity, kind), limit, self._number) is not None:
            return None
        mirrored = self._fallback(identity)
        if mirrored is None:
            return None
        if self._clock.seconds() >= trouble.again_at:
            self._ask_behind((identity, self.least(identity)), authorization)
        self._metrics.stale.inc()
        return Answer(mirrored, stale=True)

    def _ask_behind(self, question: Question, authorization: str | None) -> None:
        """Ask for what nobody waits for, unless it is being asked for."""
        if question not in self._shared:
            asking = Deferred.fromCoroutine(self._shared.run(question, lambda: self._check(question, authorization)))
            asking.addErrback(self._probe_failed, question[0])

    def _probe_failed(self, failure: Failure, identity: Identity) -> None:
        if not failure.check(CancelledError):
            self.log.failure("ref check of {repository} failed", failure=failure, repository=identity.name)

    async def probe(self, identity: Identity, authorization: str | None) -> bool:
        """Ask the upstream whether a credential may read a repository; its listing is kept like any other.

        :return: whether it may have what is kept of the repository, and not only what the upstream itself answers.
        :raise UpstreamRefused: when it may not.
        :raise UpstreamError: when the upstream fails.
        """
        outcome = await self._ask((identity, self.least(identity)), authorization, as_it_is)
        if not isinstance(outcome.result, Listing):
            assert outcome.result is not None
            raise outcome.result.with_traceback(None)
        return not outcome.aside

    def known(self, identity: Identity) -> Listing | None:
        """Return the newest listing of heads and tags without asking anyone."""
        kept = self._newest(identity)
        return kept.result if kept is not None and isinstance(kept.result, Listing) else None

    def unlisted(self, identity: Identity, oids: Iterable[str]) -> set[str]:
        """Return those of the object ids that no listing has which is at hand, whatever it is of."""
        left = set(oids)
        for question in self._questions(identity):
            kept = self._kept(question)
            if kept is not None and isinstance(kept.result, Listing):
                listed = kept.result.oids()
                left = {oid for oid in left if oid not in listed}
        return left

    def checked(self, identity: Identity, now: float) -> float | None:
        """Return when the upstream last said what its heads and tags are, on the scale of ``now``; None for never."""
        kept = self._newest(identity)
        if kept is None or not isinstance(kept.result, Listing):
            return None
        return now - (self._clock.seconds() - kept.started)

    def asked_within(self, identity: Identity, seconds: float) -> bool:
        """Whether the upstream has been asked for any of its heads and tags within so many seconds."""
        kept = [self._kept(asked) for asked in self._questions(identity) if asked[1] in _OF_ALL or is_part(asked[1])]
        return any(one is not None and self._clock.seconds() - one.started <= seconds for one in kept)

    def failure(self, identity: Identity) -> UpstreamError | None:
        """Return why the upstream could not say what its heads and tags are when last asked; None if it could."""
        kept = [one for kind in _OF_ALL if (one := self._kept((identity, kind))) is not None]
        newest = max(kept, key=lambda one: one.number, default=None)
        return newest.result if newest is not None and isinstance(newest.result, UpstreamError) else None

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
        for told in self._on_changed:
            told(identity)

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

    async def _outcome(self, identity: Identity, kind: Kind, authorization: str | None, limit: _Limit) -> _Outcome:
        arrived = self._number
        question = (identity, kind)
        while True:
            if (kept := self._kept_for(question, limit, arrived)) is not None:
                return kept
            flight = self._flights.get(question)
            joinable = flight is None or self._counts(identity, flight, limit, arrived)
            outcome = await self._shared.run(question, lambda: self._check(question, authorization))
            personal = outcome.alone or isinstance(outcome.result, UpstreamRefused)
            if personal and outcome.authorization != authorization:
                # Somebody else's answer; with our own credential it may be another matter.
                joinable = False
            if joinable:
                return outcome

    def _kept_for(self, question: Question, limit: _Limit, arrived: int) -> _Outcome | None:
        """Return what is kept that answers a question: its own outcome, or a listing of everything."""
        identity = question[0]
        for asked in (question, (identity, EVERYTHING)):
            kept = self._kept(asked)
            if (
                kept
                and self._counts(identity, kept, limit, arrived)
                and (asked == question or isinstance(kept.result, Listing))
            ):
                return kept
        return None

    def _counts(self, identity: Identity, outcome: _Outcome, limit: _Limit, arrived: int) -> bool:
        if outcome.void or outcome.number <= self._changed.get(identity, 0):
            return False
        return limit.allows(outcome, self._clock.seconds()) or outcome.number > arrived

    async def _check(self, question: Question, authorization: str | None) -> _Outcome:
        # What is shared by all clients is asked for with one credential; the rest, which says nothing of the repository
        # as a whole, with that of who wants it.
        of_all = question[1] in _OF_ALL or self._is_part(question)
        shown = self._shown if of_all else self._shown_alone
        outcome = await self._ask(question, authorization, shown)
        if isinstance(outcome.result, UpstreamRefused) and authorization not in (None, outcome.shown):
            # It was the server's own credential that was refused.
            return await self._ask(question, authorization, as_it_is)
        return outcome

    async def _ask(self, question: Question, authorization: str | None, shown: Shown) -> _Outcome:
        identity = question[0]
        self._asking[identity] += 1
        try:
            outcome = await self._ask_upstream(question, authorization, shown)
            if outcome.result is not None:
                self._on_asked(identity, outcome.result)
            return outcome
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
            result = await self._remotes.of(identity).list(kind, credential, self._like(question))
        except UpstreamError as error:
            result = error
        took = self._clock.seconds() - begun.started
        self._metrics.ref_checks.labels(_outcome_in_words(result)).inc()
        self._note_trouble(identity, begun.started, result)
        verdict = Verdict.GOES_ON
        if isinstance(result, Listing) and kind in _OF_ALL:
            verdict = await self._hearing.listed(identity, credential, result, begun.number)
            if verdict in _LETTING_IN:
                self._on_verdict(identity, credential, None)
        elif isinstance(result, Listing) and self._is_part(question):
            result, verdict = await self._heard_in_part(question, replace(begun, shown=credential), result, shown)
        # What was refused before a push may be there now.
        elif isinstance(result, UpstreamRefused) and begun.number > self._changed.get(identity, 0):
            await self._hearing.refused(identity, credential, result.status, begun.number)
            self._on_verdict(identity, credential, result)
        return replace(begun, shown=credential, result=result, took=took), verdict

    def _is_part(self, question: Question) -> bool:
        """Whether a question is bounded to some of the heads and tags, because there are so many."""
        return is_part(question[1]) and self.has_many(question[0])

    async def _heard_in_part(
        self, question: Question, begun: _Outcome, listing: Listing, shown: Shown
    ) -> tuple[Listing | UpstreamError, Verdict]:
        """Find out whether a listing of some refs is of the same repository; if that is not certain, all are listed."""
        identity, kind = question
        if await self._recognised(question, begun, listing):
            self._on_verdict(identity, begun.shown, None)
            return listing, Verdict.GOES_ON
        everything = (identity, MIRRORED_KIND)
        if shown is as_it_is:
            whole = await self._ask(everything, begun.authorization, shown)
        else:
            whole = await self._outcome(identity, MIRRORED_KIND, begun.authorization, self._limit(0))
        if not isinstance(whole.result, Listing):
            assert whole.result is not None
            return whole.result, Verdict.GOES_ON
        verdict = Verdict.ASIDE if whole.aside else Verdict.PRIVATELY if whole.alone else Verdict.GOES_ON
        others = tuple(ref for ref in listing.refs if not is_mirrored(ref.name))
        return replace(whole.result, refs=(*whole.result.filtered(kind).refs, *others)), verdict

    async def _recognised(self, question: Question, begun: _Outcome, listing: Listing) -> bool:
        """Whether some refs are certainly of the same repository: by what they have, or by a few that seldom move."""
        identity = question[0]
        if await self._hearing.listed_in_part(identity, begun.shown, listing, begun.number):
            return True
        names = witnesses(self._fallback(identity) or Listing(refs=()))
        if not names:
            return False
        try:
            others = await self._remotes.of(identity).list(names, begun.shown, None)
        except UpstreamError:
            return False
        joined = replace(listing, refs=(*listing.refs, *others.refs))
        return await self._hearing.listed_in_part(identity, begun.shown, joined, begun.number)

    def _taken(self, question: Question, outcome: _Outcome, listing: Listing) -> _Outcome:
        """Keep a listing that is everybody's who may read the repository."""
        identity, kind = question
        listing = self._same_as_before(question, listing)
        outcome = replace(outcome, result=listing)
        self._keep(question, outcome)
        self._drop_contradicted(identity, kind, outcome.number, listing)
        if kind in _OF_ALL:
            self._all_again.put(identity, self._clock.seconds() + self._all_after, _REMEMBERED)
            self._on_listing(identity, listing, outcome.started)
        elif self._is_part(question):
            self._on_part(identity, kind, listing, outcome.started)
            self._see_the_others(identity, outcome.authorization)
        return outcome

    @property
    def _all_after(self) -> float:
        return max(_ALL_AGAIN, _ALL_AFTER_INTERVALS * self._interval)

    def _see_the_others(self, identity: Identity, authorization: str | None) -> None:
        """Ask behind for all heads and tags, if nobody has for long."""
        due, now = self._all_again.get(identity), self._clock.seconds()
        if due is None or now >= due:
            self._all_again.put(identity, now + self._all_after, _REMEMBERED)
        if due is not None and now >= due:
            self._ask_behind((identity, MIRRORED_KIND), authorization)

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

    def _like(self, question: Question) -> Listing | None:
        """Return a listing that is likely to be like the next one: what is the same in both is not read again."""
        before, mirrored = self._listing_before(question), self._fallback(question[0])
        if before is not None or mirrored is None or not isinstance(mirrored.refs, ManyRefs):
            return before
        return mirrored.filtered(question[1])

    def _drop_contradicted(self, identity: Identity, kind: Kind, number: int, listing: Listing) -> None:
        """Forget an older listing of everything, or of heads and tags, that the newest one proves wrong.

        Otherwise clients of v0 and of v2, who ask for different kinds, would see different moments.
        """
        if kind in _OF_ALL or is_part(kind):
            self._void_contradicted(identity, kind, number, listing)
        other = {MIRRORED_KIND: EVERYTHING, EVERYTHING: MIRRORED_KIND}.get(kind, kind)
        kept = self._kept((identity, other))
        if other == kind or kept is None or kept.number > number or not isinstance(kept.result, Listing):
            return
        if of_listing(kept.result) != of_listing(listing):
            self._listings.drop(identity, other)

    def _void_contradicted(self, identity: Identity, kind: Kind, number: int, listing: Listing) -> None:
        """Have older listings asked for again that a newer one proves wrong, where either is one of a part."""
        for other in [other for _, other in self._questions(identity) if is_part(other) or is_part(kind)]:
            kept = self._kept((identity, other))
            older = kept is not None and kept.number < number and not kept.void
            if older and kept is not None and isinstance(kept.result, Listing):
                kept.void = contradict(listing, kind, kept.result, other)

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
