"""What upstreams have said of who may read what, for as long as it holds, and what makes older answers void.

Credentials are remembered only as HMAC under a key that lives as long as the process.
"""

import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import UpstreamBusy, UpstreamError, UpstreamRefused
from cachew.plumbing.remembered import Expiring
from cachew.upstream.publicrecord import PublicRecord
from cachew.upstream.refusals import ABOUT_RIGHTS

_SECRET = 32
"""Random bytes of this process."""


class NamedRepository(Protocol):
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


class UpstreamChanges:
    """In which order upstreams were asked and have changed: what was asked before a change counts no more.

    Nobody is told of a change: whoever keeps what an upstream has said looks here before he relies on it.

    :param capacity: of how many; once one is forgotten, what was asked of anybody before its change is void, too.
    """

    def __init__(self, *, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._number = 0
        self._changed: OrderedDict[str, int] = OrderedDict()
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._changed)

    def ask(self) -> int:
        """Return the number of a question that is asked now."""
        self._number += 1
        return self._number

    def note(self, repository: str) -> None:
        """Note that a repository has changed upstream, or may have come into being: by its name."""
        self._changed[repository] = self.ask()
        self._changed.move_to_end(repository)
        if len(self._changed) > self._capacity:
            _, self._forgotten = self._changed.popitem(last=False)

    def last(self, repository: str) -> int:
        """Return the number of a repository's last change, 0 when none is known."""
        return self._changed.get(repository, self._forgotten)

    def void(self, repository: str, number: int) -> bool:
        """Say whether the answer to a question counts no more.

        :param number: the question's.
        """
        return number < self.last(repository)


@dataclass(frozen=True)
class VerdictTerms:
    """How long verdicts hold, in seconds.

    :param allow: a permission, "public" included.
    :param deny: a refusal; no longer than this, and never past a push.
    :param fail: the failure of an upstream to answer; of a busy one the time that it named, up to this.
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


USUAL_TERMS = VerdictTerms()


@dataclass(frozen=True)
class _Failed:
    """A failure or refusal, and the place of its question in the order of questions and changes."""

    failure: UpstreamError
    asked: int


class VerdictMemory:
    """Remembers verdicts.

    :param clock: tells how old they are.
    :param public: what was public lately.
    :param changes: knows which repositories have changed since they were asked about.
    :param terms: how long verdicts hold.
    :param eras: knows which verdicts are about what a name no longer stands for; None where names stay.
    """

    def __init__(
        self, *, clock: Clock, public: PublicRecord, changes: UpstreamChanges, terms: VerdictTerms, eras: Eras | None
    ) -> None:
        self._public = public
        self._changes = changes
        self._secret = secrets.token_bytes(_SECRET)
        self._terms = terms
        self._eras = eras
        self._allowed: Expiring[bytes, int] = Expiring(clock=clock, capacity=terms.capacity)
        self._known: Expiring[bytes, int] = Expiring(clock=clock, capacity=terms.capacity)
        self._failed: Expiring[bytes, _Failed] = Expiring(clock=clock, capacity=terms.capacity)

    def allows(self, repository: NamedRepository, authorization: str | None) -> bool:
        """Whether a valid verdict lets this credential, or everybody, read a repository."""
        return self._counts(self._allowed, repository, authorization) or self._counts(self._allowed, repository, None)

    def knows(self, repository: NamedRepository, authorization: str | None) -> bool:
        """Whether this credential was let in before, when the name stood for what it stands for now."""
        return self._counts(self._known, repository, authorization)

    def _counts(self, verdicts: Expiring[bytes, int], repository: NamedRepository, authorization: str | None) -> bool:
        era = verdicts.get(self.key(repository, authorization))
        return era is not None and (self._eras is None or self._eras.counts(repository, era))

    def failure(self, repository: NamedRepository, authorization: str | None) -> UpstreamError | None:
        """Return what the upstream has failed with or refused since the repository changed last."""
        failed = self._failed.get(self.key(repository, authorization))
        if failed is None or self._changes.void(repository.name, failed.asked):
            return None
        return _clone(failed.failure)

    def record(self, repository: NamedRepository, authorization: str | None, refusal: UpstreamRefused | None) -> None:
        """Note what the upstream has just said to a credential on another occasion.

        :param refusal: None when it served the credential; one that is not about rights says nothing.
        """
        if refusal is None:
            self.record_allow(repository, authorization)
        elif refusal.status in ABOUT_RIGHTS:
            self.record_deny(repository, authorization, refusal, self._changes.ask())

    def record_allow(self, repository: NamedRepository, authorization: str | None) -> None:
        """Note that the upstream has just served this credential; None means that it serves everybody."""
        key = self.key(repository, authorization)
        self._failed.forget(key)
        era = 0 if self._eras is None else self._eras.era(repository)
        self._allowed.put(key, era, self._terms.allow)
        self._known.put(key, era, self._terms.known)
        if authorization is None:
            self._public.note(repository.name)

    def record_deny(
        self, repository: NamedRepository, authorization: str | None, refusal: UpstreamRefused, asked: int
    ) -> None:
        """Note that the upstream has refused this credential; None means that the repository is not public.

        :param asked: the place of the question.
        """
        key = self.key(repository, authorization)
        self._allowed.forget(key)
        self._known.forget(key)
        self._failed.put(key, _Failed(_clone(refusal), asked), self._terms.deny)
        if authorization is None:
            self._public.forget(repository.name)

    def record_failure(
        self, repository: NamedRepository, authorization: str | None, failure: UpstreamError, asked: int
    ) -> None:
        """Note that the upstream could not be asked: clients come back when it told them to.

        :param asked: the place of the question.
        """
        seconds = self._terms.fail
        if isinstance(failure, UpstreamBusy):
            # For how long it is left alone is known where it is asked.
            seconds = min(seconds, failure.lasts)
        self._failed.put(self.key(repository, authorization), _Failed(_clone(failure), asked), seconds)

    def key(self, repository: NamedRepository, authorization: str | None) -> bytes:
        """Return what stands for a credential, or its absence, at a repository."""
        said = b"-" if authorization is None else b"+" + authorization.encode("utf-8", "surrogateescape")
        return hmac.digest(self._secret, repository.name.encode() + b"\0" + said, "sha256")


def _clone(failure: UpstreamError) -> UpstreamError:
    """Return the same failure without its traceback, whose frames hold the credential."""
    clone = type(failure).__new__(type(failure))
    clone.args = failure.args
    vars(clone).update(vars(failure))
    return clone
