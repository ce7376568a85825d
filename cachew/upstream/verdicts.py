"""Whether a credential may read a repository, as its upstream says.

The upstream's word is asked for with the client's own credential and believed for a short while. Nothing is ever
decided here: without the upstream's word nobody gets in, except that a repository which was public lately goes on
being served while the question is under way or can't be answered.

Credentials are remembered only as HMAC under a key that lives as long as the process.
"""

import hmac
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import UpstreamBusy, UpstreamError, UpstreamRefused
from cachew.plumbing.remembered import Expiring
from cachew.plumbing.shared import Shared, first_of
from cachew.upstream.publicrecord import PublicRecord
from cachew.upstream.refusals import ABOUT_RIGHTS


class Named(Protocol):
    """A repository's identity, as far as it matters here."""

    @property
    def name(self) -> str:
        """Its one name."""


class Eras(Protocol):
    """Knows what a repository's name stands for: a verdict is one about the repository that it stood for then."""

    def era(self, repository: Any, /) -> int:
        """Return the number of the present era of a name."""

    def counts(self, repository: Any, era: int, /) -> bool:
        """Whether verdicts of an era still count."""

    def is_public(self, repository: Any, /) -> bool:
        """Whether what the name stands for now was served to everybody, and not refused since."""


_SHORTEST = 1.0
"""Seconds for which a failure is remembered even when the upstream names fewer."""

_CHANGE_COUNTS = 3600.0
"""Seconds, longer than any question to an upstream takes."""

Probe = Callable[..., Awaitable[bool]]
"""``probe(repository, authorization)``: asks the upstream; says whether its answer is one about the repository that the
name stands for; raises :class:`UpstreamRefused` or another failure."""


@dataclass(frozen=True)
class Terms:
    """How long verdicts hold, in seconds.

    :param allow: a permission, "public" included.
    :param deny: a refusal; no longer than this, and never past a push.
    :param fail: the failure of an upstream to answer, unless it named a shorter time.
    :param public_wait: how long a request for what was public lately waits for the answer.
    :param private: for how long a repository that is not public is not asked about again for its own sake.
    :param known: for how long it is remembered that a credential was let in at all.
    :param capacity: verdicts remembered of each kind.
    """

    allow: float = 60.0
    deny: float = 1.0
    fail: float = 5.0
    public_wait: float = 0.05
    private: float = 3600.0
    known: float = 86400.0
    capacity: int = 10_000


@dataclass(frozen=True)
class _Failed:
    """A failure or refusal, and the place of its question in the order of questions and changes."""

    failure: UpstreamError
    asked: int


class Verdicts:
    """Remembers what upstreams said about who may read what, and asks them when that is too old.

    :param reactor: bounds waits.
    :param clock: tells how old verdicts are.
    :param probe: asks an upstream; it must end by itself in bounded time.
    :param public: what was public lately.
    :param key: random bytes of this process.
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
        key: bytes,
        terms: Terms = Terms(),
        eras: Eras | None = None,
    ) -> None:
        self._eras = eras
        self._reactor = reactor
        self._probe = probe
        self._public = public
        self._secret = key
        self._terms = terms
        self._allowed: Expiring[bytes, int] = Expiring(clock=clock, capacity=terms.capacity)
        self._known: Expiring[bytes, int] = Expiring(clock=clock, capacity=terms.capacity)
        self._failed: Expiring[bytes, _Failed] = Expiring(clock=clock, capacity=terms.capacity)
        self._changed: Expiring[str, int] = Expiring(clock=clock, capacity=terms.capacity)
        self._number = 0
        self._private: Expiring[str, bool] = Expiring(clock=clock, capacity=terms.capacity)
        self._checks: Shared[tuple[bytes, int], None] = Shared(keep=True)

    def allows(self, repository: Named, authorization: str | None) -> bool:
        """Whether a valid verdict lets this credential, or everybody, read a repository; asks nobody."""
        return self._counts(self._allowed, repository, authorization) or self._counts(self._allowed, repository, None)

    def knows(self, repository: Named, authorization: str | None) -> bool:
        """Whether this credential was let in before, when the name stood for what it stands for now."""
        return self._counts(self._known, repository, authorization)

    def _counts(self, verdicts: Expiring[bytes, int], repository: Named, authorization: str | None) -> bool:
        era = verdicts.get(self._key(repository, authorization))
        return era is not None and (self._eras is None or self._eras.counts(repository, era))

    async def admit(self, repository: Named, authorization: str | None) -> bool:
        """Let a request pass, or say why not.

        :param repository: what it wants to read.
        :param authorization: its own ``Authorization``; None when it has none.
        :return: whether it may have what is kept; otherwise only what the upstream itself answers it.
        :raise UpstreamRefused: when the upstream refuses the credential.
        :raise UpstreamError: when the upstream can't be asked.
        """
        if self.allows(repository, authorization):
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
        if not self.allows(repository, authorization):
            return await self._check_or_learn(repository, authorization)
        return True

    def _was_public(self, repository: Named) -> bool:
        seen = self._public.was_public(repository.name)
        return seen and (self._eras is None or self._eras.is_public(repository))

    async def _check_or_learn(self, repository: Named, authorization: str | None) -> bool:
        try:
            await self._check(repository, authorization)
        except UpstreamRefused:
            raise
        except UpstreamError:
            await self._public.learn(repository.name)
            if not self._was_public(repository):
                raise
            return True
        return self.allows(repository, authorization)

    def might_be_public(self, repository: Named) -> bool:
        """Whether it is neither known to be public nor was found not to be in the last hour."""
        return not (self.allows(repository, None) or self._private.get(repository.name))

    async def find_out_whether_public(self, repository: Named) -> None:
        """Ask the upstream whether it serves a repository to everybody.

        Clients that always show a credential would otherwise each be asked about, and a repository that everybody may
        read would not be known as one when its upstream is down.
        """
        self._private.put(repository.name, True, self._terms.private)
        with suppress(UpstreamError):
            await self._check(repository, None)

    async def _public_for_all_we_know(self, repository: Named) -> bool:
        answer = Deferred.fromCoroutine(self._check(repository, None))
        try:
            await answer.addTimeout(self._terms.public_wait, self._reactor)
        except UpstreamRefused:
            return False
        except (DeferredTimeout, UpstreamError):
            return self._was_public(repository)
        return self.allows(repository, None)

    async def _check(self, repository: Named, authorization: str | None) -> None:
        key, changed = self._key(repository, authorization), self._last_change(repository)
        failed = self._failed.get(key)
        if failed is not None and failed.asked > changed:
            raise _clone(failed.failure)
        # Whoever comes after a change does not share the answer to a question from before.
        await self._checks.run((key, changed), lambda: self._ask(repository, authorization))

    async def _ask(self, repository: Named, authorization: str | None) -> None:
        self._number += 1
        asked = self._number
        try:
            lets_in = await self._probe(repository, authorization)
        except UpstreamRefused as refusal:
            self._deny(repository, authorization, refusal, asked)
            raise
        except UpstreamError as failure:
            failed = _Failed(_clone(failure), asked)
            self._failed.put(self._key(repository, authorization), failed, self._pause_after(failure))
            raise
        if lets_in:
            self.record_allow(repository, authorization)

    def changed(self, repository: Named) -> None:
        """Note that something was pushed to a repository, or is said to have been: it may have come into being."""
        self._number += 1
        self._changed.put(repository.name, self._number, _CHANGE_COUNTS)

    def _last_change(self, repository: Named) -> int:
        return self._changed.get(repository.name) or 0

    def _pause_after(self, failure: UpstreamError) -> float:
        """Return for how many seconds a failure is remembered: clients come back when the upstream told them to."""
        told = failure.retry_after if isinstance(failure, UpstreamBusy) else None
        return self._terms.fail if told is None else min(self._terms.fail, max(told, _SHORTEST))

    def record(self, repository: Named, authorization: str | None, refusal: UpstreamRefused | None) -> None:
        """Note what the upstream has just said to a credential on another occasion.

        :param refusal: None when it served the credential; one that is not about rights says nothing.
        """
        if refusal is None:
            self.record_allow(repository, authorization)
        elif refusal.status in ABOUT_RIGHTS:
            self.record_deny(repository, authorization, refusal)

    def record_allow(self, repository: Named, authorization: str | None) -> None:
        """Note that the upstream has just served this credential; None means that it serves everybody."""
        key = self._key(repository, authorization)
        self._failed.forget(key)
        era = 0 if self._eras is None else self._eras.era(repository)
        self._allowed.put(key, era, self._terms.allow)
        self._known.put(key, era, self._terms.known)
        if authorization is None:
            self._public.note(repository.name)

    def record_deny(self, repository: Named, authorization: str | None, refusal: UpstreamRefused) -> None:
        """Note that the upstream has just refused this credential; None means that the repository is not public."""
        self._number += 1
        self._deny(repository, authorization, refusal, self._number)

    def _deny(self, repository: Named, authorization: str | None, refusal: UpstreamRefused, asked: int) -> None:
        key = self._key(repository, authorization)
        self._allowed.forget(key)
        self._known.forget(key)
        self._failed.put(key, _Failed(_clone(refusal), asked), self._terms.deny)
        if authorization is None:
            self._public.forget(repository.name)

    def _key(self, repository: Named, authorization: str | None) -> bytes:
        said = b"-" if authorization is None else b"+" + authorization.encode("utf-8", "surrogateescape")
        return hmac.digest(self._secret, repository.name.encode() + b"\0" + said, "sha256")

    async def stop(self) -> None:
        """Break off the questions under way."""
        await self._checks.stop()


def _clone(failure: UpstreamError) -> UpstreamError:
    """Return the same failure without its traceback, whose frames hold the credential."""
    clone = type(failure).__new__(type(failure))
    clone.args = failure.args
    vars(clone).update(vars(failure))
    return clone
