"""Asking upstreams for their refs, and having what they say taken notice of before anybody is served because of it.

Per repository and kind of listing at most one request is under way. Of a repository with very many refs the upstream is
asked for what clients ask for; all of its heads and tags are asked for when what it says is not certainly of the same
repository, and now and then behind.
"""

from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.mirrors.gatelisteners import GateListeners
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Verdict
from cachew.mirrors.kinds import EVERYTHING, MIRRORED_KIND, NOTHING, Question, is_mirrored
from cachew.mirrors.pauses import UpstreamPauses
from cachew.mirrors.refknowledge import FAILURES, OF_ALL, KeptOutcomes, Limit, MirroredListings, RefOutcome
from cachew.mirrors.witnesses import Witnesses
from cachew.plumbing.errors import UpstreamError, UpstreamRefused, UpstreamTimeout
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.shared import Shared
from cachew.plumbing.waiters import Waiters
from cachew.upstream.listing import Listing
from cachew.upstream.manyrefs import ManyRefs
from cachew.upstream.presented_credential import Shown, ShownCredentials, as_it_is
from cachew.upstream.remotes import Remotes

_TELLS_WHAT_IS_ASKED = 2
_EVERYBODYS = (Verdict.GOES_ON, Verdict.DOUBT)
_LETTING_IN = (Verdict.GOES_ON, Verdict.DOUBT, Verdict.PRIVATELY)


class _Learning(Waiters):
    """Those who wait for what an upstream speaks, and that it hangs where it does."""

    silence: UpstreamTimeout | None = None


class RefQuestions:
    """Asks upstreams for their refs.

    :param remotes: the ways to the upstreams.
    :param kept: what they have said.
    :param mirrored: what mirrors have.
    :param pauses: which are not asked for now.
    :param listeners: who is told what they say.
    :param presented: whose credential they are shown for a client.
    :param metrics: where requests are counted.
    """

    log = Logger()

    def __init__(
        self,
        *,
        remotes: Remotes,
        kept: KeptOutcomes,
        mirrored: MirroredListings,
        pauses: UpstreamPauses,
        listeners: GateListeners,
        presented: ShownCredentials,
        metrics: Metrics,
    ) -> None:
        self._remotes = remotes
        self._kept = kept
        self._mirrored = mirrored
        self._pauses = pauses
        self._listeners = listeners
        self._presented = presented
        self._metrics = metrics
        self._witnesses = Witnesses(remotes=remotes, mirrored=mirrored, listeners=listeners)
        self._flights: dict[Question, RefOutcome] = {}
        self._learning: dict[Identity, _Learning] = {}
        self._shared: Shared[Question, RefOutcome] = Shared(keep=True)

    async def stop(self) -> None:
        """Break off the questions under way."""
        await self._shared.stop()

    async def outcome(self, question: Question, authorization: str | None, limit: Limit) -> RefOutcome:
        """Return what comes of a question: what is kept, or of the request under way, or of one that is made now.

        :param authorization: the credential of the client who asks.
        """
        arrived = self._kept.newest
        while True:
            if (kept := self._kept.answering(question, limit, arrived)) is not None:
                return kept
            flight = self._flights.get(question)
            joinable = flight is None or self._kept.counts(question[0], flight, limit, arrived)
            outcome = await self._shared.run(question, lambda: self._check(question, authorization))
            personal = outcome.alone or isinstance(outcome.result, UpstreamRefused)
            if personal and outcome.authorization != authorization:
                # Somebody else's answer; with our own credential it may be another matter.
                joinable = False
            if joinable:
                return outcome

    async def tells(self, identity: Identity) -> bool:
        """Whether an upstream has just told somebody what it speaks; whoever is asking it for that is waited for.

        :raise UpstreamTimeout: when it hangs.
        """
        if (learning := self._learning.get(identity)) is not None:
            await learning.wait()
            if learning.silence is not None:
                # It would hang for the next one as well.
                raise learning.silence
            return self._remotes.of(identity).capabilities is not None
        told = self._kept.answering((identity, NOTHING), self._kept.limit(None), self._kept.newest)
        return told is not None and isinstance(told.result, Listing)

    def ask_behind(self, question: Question, authorization: str | None) -> None:
        """Ask for what nobody waits for, unless it is being asked for."""
        if question not in self._shared:
            asking = Deferred.fromCoroutine(self._shared.run(question, lambda: self._check(question, authorization)))
            asking.addErrback(self._probe_failed, question[0])

    def _probe_failed(self, failure: Failure, identity: Identity) -> None:
        if not failure.check(CancelledError):
            self.log.failure("ref check of {repository} failed", failure=failure, repository=identity.name)

    async def _check(self, question: Question, authorization: str | None) -> RefOutcome:
        # What is shared by all clients is asked for with one credential; the rest, which says nothing of the repository
        # as a whole, with that of who wants it.
        of_all = question[1] in OF_ALL or self._mirrored.is_part(question)
        outcome = await self.ask(
            question, authorization, self._presented.to_check if of_all else self._presented.to_read
        )
        if isinstance(outcome.result, UpstreamRefused) and authorization not in (None, outcome.shown):
            # It was the server's own credential that was refused.
            return await self.ask(question, authorization, as_it_is)
        return outcome

    async def ask(self, question: Question, authorization: str | None, shown: Shown) -> RefOutcome:
        """Ask the upstream now, whatever is kept or under way.

        :param shown: says what it is shown.
        """
        outcome = await self._ask_upstream(question, authorization, shown)
        if outcome.result is not None:
            self._listeners.asked(question[0], outcome.result)
        return outcome

    async def _ask_upstream(self, question: Question, authorization: str | None, shown: Shown) -> RefOutcome:
        verdict = Verdict.LATE
        while verdict is Verdict.LATE:
            begun = self._kept.begin(authorization)
            self._flights.setdefault(question, begun)
            try:
                outcome, verdict = await self._heard(question, begun, shown)
            finally:
                if self._flights.get(question) is begun:
                    del self._flights[question]
        question = _answered(question, outcome.result)
        if isinstance(outcome.result, Listing) and verdict in _EVERYBODYS:
            return self._taken(question, outcome, outcome.result)
        if isinstance(outcome.result, FAILURES):
            self._kept.put(question, outcome)
            name, error = question[0].name, str(outcome.result)
            self.log.warn("ref check of {repository} failed: {error}", repository=name, error=error)
        return replace(outcome, alone=isinstance(outcome.result, Listing), aside=verdict is Verdict.ASIDE)

    async def _heard(self, question: Question, begun: RefOutcome, shown: Shown) -> tuple[RefOutcome, Verdict]:
        """Ask the upstream, and have what it says taken notice of before anybody is served because of it."""
        identity, kind = question
        result: Listing | UpstreamError
        credential: str | None = None
        along, was_part = self._witnesses.asked_along(question), self._mirrored.is_part(question)
        try:
            credential = await shown(identity, begun.authorization)
            result = await self._list((identity, (*kind, *along)) if kind and along else question, credential)
        except UpstreamError as error:
            result = error
        identity, kind = question = _answered(question, result)
        took = self._kept.age(begun)
        self._metrics.ref_checks.labels(_outcome_in_words(result)).inc()
        self._pauses.note(identity, begun, result)
        verdict, instances = Verdict.GOES_ON, self._listeners.instances
        if isinstance(result, Listing) and kind in OF_ALL:
            verdict = await instances.listed(identity, credential, result, begun.number)
            if verdict in _LETTING_IN:
                self._listeners.verdict(identity, credential, None)
        # It may be known by now that there are few.
        elif isinstance(result, Listing) and (was_part or self._mirrored.is_part(question)):
            begun = replace(begun, shown=credential)
            together, result = (result, result.filtered(kind)) if along else (None, result)
            result, verdict = await self._heard_in_part(question, begun, result, together, shown)
        # What was refused before a push may be there now.
        elif isinstance(result, UpstreamRefused) and not self._kept.changes.void(identity.name, begun.number):
            await instances.refused(identity, credential, result.status, begun.number)
            self._listeners.verdict(identity, credential, result)
        return replace(begun, shown=credential, result=result, took=took), verdict

    async def _list(self, question: Question, credential: str | None) -> Listing:
        identity, kind = question
        remote = self._remotes.of(identity)
        if kind != NOTHING or identity in self._learning:
            return await remote.list(kind, credential, self._like(question))
        learning = self._learning[identity] = _Learning()
        try:
            return await remote.list(kind, credential, self._like(question))
        except UpstreamTimeout as silence:
            learning.silence = silence
            raise
        finally:
            del self._learning[identity]
            learning.wake()

    async def _heard_in_part(
        self, question: Question, begun: RefOutcome, listing: Listing, together: Listing | None, shown: Shown
    ) -> tuple[Listing | UpstreamError, Verdict]:
        """Find out whether a listing of some refs is of the same repository; if that is not certain, all are listed.

        :param together: they with the witnesses, where those were asked for along.
        """
        identity, kind = question
        if not (listing.empty or self._listeners.instances.knows(identity)):
            # Nothing is known that it could be held against.
            verdict = await self._listeners.instances.listed(identity, begun.shown, listing, begun.number)
            if verdict in _LETTING_IN:
                self._listeners.verdict(identity, begun.shown, None)
            return listing, verdict
        if await self._witnesses.recognise(identity, begun, listing, together):
            self._listeners.verdict(identity, begun.shown, None)
            return listing, Verdict.GOES_ON
        everything = (identity, MIRRORED_KIND)
        if shown is as_it_is:
            whole = await self.ask(everything, begun.authorization, shown)
        else:
            whole = await self.outcome(everything, begun.authorization, self._kept.limit(0))
        if not isinstance(whole.result, Listing):
            assert whole.result is not None
            return whole.result, Verdict.GOES_ON
        verdict = Verdict.ASIDE if whole.aside else Verdict.PRIVATELY if whole.alone else Verdict.GOES_ON
        others = tuple(ref for ref in listing.refs if not is_mirrored(ref.name))
        return replace(whole.result, refs=(*whole.result.filtered(kind).refs, *others)), verdict

    def _taken(self, question: Question, outcome: RefOutcome, listing: Listing) -> RefOutcome:
        """Keep a listing that is everybody's who may read the repository, and tell of it."""
        identity, kind = question
        outcome = self._kept.take(question, outcome, listing)
        listing = outcome.require()
        if kind in OF_ALL:
            self._pauses.all_listed(identity)
            for told in self._listeners.listing:
                told(identity, listing, outcome.started)
        elif self._mirrored.is_part(question):
            self._listeners.part(identity, kind, listing, outcome.started)
            if self._pauses.all_due(identity):
                self.ask_behind((identity, MIRRORED_KIND), outcome.authorization)
        return outcome

    def _like(self, question: Question) -> Listing | None:
        """Return a listing that is likely to be like the next one: what is the same in both is not read again."""
        before, mirrored = self._kept.listing(question), self._mirrored.listing(question[0])
        if before is not None or mirrored is None or not isinstance(mirrored.refs, ManyRefs):
            return before
        return mirrored.filtered(question[1])


def _answered(question: Question, result: Listing | UpstreamError | None) -> Question:
    """Return which question has been answered: who speaks no protocol v2 lists all refs where none are asked for."""
    unasked = question[1] == NOTHING and isinstance(result, Listing) and result.protocol != _TELLS_WHAT_IS_ASKED
    return (question[0], EVERYTHING) if unasked else question


def _outcome_in_words(result: Listing | UpstreamError) -> str:
    return "ok" if isinstance(result, Listing) else "refused" if isinstance(result, UpstreamRefused) else "failed"
