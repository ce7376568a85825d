"""Whether a credential may read a repository, as its upstream says.

The upstream's word is asked for with the client's own credential and believed for a short while. Nothing is ever
decided here: without the upstream's word nobody gets in, except that a repository which was public lately goes on
being served while the question is under way or can't be answered.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import UpstreamError, UpstreamRefused
from cachew.plumbing.remembered import Expiring
from cachew.plumbing.shared import Shared, first_of
from cachew.upstream.publicrecord import PublicRecord
from cachew.upstream.verdictmemory import (
    USUAL_TERMS,
    Eras,
    NamedRepository,
    UpstreamChanges,
    VerdictMemory,
    VerdictTerms,
)

Probe = Callable[..., Awaitable[bool]]
"""``probe(repository, authorization)``: asks the upstream; says whether its answer is one about the repository that the
name stands for; raises :class:`UpstreamRefused` or another failure."""


class Verdicts:
    """Remembers what upstreams said about who may read what, and asks them when that is too old.

    :param reactor: bounds waits.
    :param clock: tells how old verdicts are.
    :param probe: asks an upstream; it must end by itself in bounded time.
    :param public: what was public lately.
    :param changes: knows which repositories have changed since they were asked about.
    :param terms: how long verdicts hold.
    :param eras: knows which verdicts are about what a name no longer stands for; None where names stay.
    """

    def __init__(
        self,
        *,
        reactor: IReactorTime,
        clock: Clock,
        probe: Probe,
        public: PublicRecord,
        changes: UpstreamChanges,
        terms: VerdictTerms = USUAL_TERMS,
        eras: Eras | None = None,
    ) -> None:
        self.memory = VerdictMemory(clock=clock, public=public, changes=changes, terms=terms, eras=eras)
        """What is known without asking."""
        self._reactor = reactor
        self._probe = probe
        self._public = public
        self._changes = changes
        self._terms = terms
        self._eras = eras
        self._private: Expiring[str, bool] = Expiring(clock=clock, capacity=terms.capacity)
        self._checks: Shared[tuple[bytes, int], None] = Shared(keep=True)

    async def admit(self, repository: NamedRepository, authorization: str | None) -> bool:
        """Let a request pass, or say why not.

        :param repository: what it wants to read.
        :param authorization: its own ``Authorization``; None when it has none.
        :return: whether it may have what is kept; otherwise only what the upstream itself answers it.
        :raise UpstreamRefused: when the upstream refuses the credential.
        :raise UpstreamError: when the upstream can't be asked.
        """
        if self.memory.allows(repository, authorization):
            return True
        if not self._was_public(repository):
            if authorization is not None and self._eras is not None and self._eras.is_public(repository):
                # What is shown to somebody may be nobody else's: first of all whether it is everybody's.
                with suppress(UpstreamError):
                    await self._check(repository, None)
            answer = Deferred.fromCoroutine(self._check(repository, authorization))
            await first_of(answer, Deferred.fromCoroutine(self._public.learn(repository.name)))
        if self._was_public(repository) and await self._public_for_all_we_know(repository):
            return True
        if not self.memory.allows(repository, authorization):
            return await self._check_or_learn(repository, authorization)
        return True

    def _was_public(self, repository: NamedRepository) -> bool:
        seen = self._public.was_public(repository.name)
        return seen and (self._eras is None or self._eras.is_public(repository))

    async def _check_or_learn(self, repository: NamedRepository, authorization: str | None) -> bool:
        try:
            await self._check(repository, authorization)
        except UpstreamRefused:
            raise
        except UpstreamError:
            await self._public.learn(repository.name)
            if not self._was_public(repository):
                raise
            return True
        return self.memory.allows(repository, authorization)

    def might_be_public(self, repository: NamedRepository) -> bool:
        """Whether it is neither known to be public nor was found not to be in the last hour."""
        return not (self.memory.allows(repository, None) or self._private.get(repository.name))

    async def find_out_whether_public(self, repository: NamedRepository) -> None:
        """Ask the upstream whether it serves a repository to everybody.

        Clients that always show a credential would otherwise each be asked about, and a repository that everybody may
        read would not be known as one when its upstream is down.
        """
        self._private.put(repository.name, True, self._terms.private)
        with suppress(UpstreamError):
            await self._check(repository, None)

    async def _public_for_all_we_know(self, repository: NamedRepository) -> bool:
        answer = Deferred.fromCoroutine(self._check(repository, None))
        try:
            await answer.addTimeout(self._terms.public_wait, self._reactor)
        except UpstreamRefused:
            return False
        except (DeferredTimeout, UpstreamError):
            return self._was_public(repository)
        return self.memory.allows(repository, None)

    async def _check(self, repository: NamedRepository, authorization: str | None) -> None:
        if (failure := self.memory.failure(repository, authorization)) is not None:
            raise failure
        # Whoever comes after a change does not share the answer to a question from before.
        key = self.memory.key(repository, authorization), self._changes.last(repository.name)
        await self._checks.run(key, lambda: self._ask(repository, authorization))

    async def _ask(self, repository: NamedRepository, authorization: str | None) -> None:
        asked = self._changes.ask()
        try:
            lets_in = await self._probe(repository, authorization)
        except UpstreamRefused as refusal:
            self.memory.record_deny(repository, authorization, refusal, asked)
            raise
        except UpstreamError as failure:
            self.memory.record_failure(repository, authorization, failure, asked)
            raise
        if lets_in:
            self.memory.record_allow(repository, authorization)

    async def stop(self) -> None:
        """Break off the questions under way."""
        await self._checks.stop()
