"""Browsers that are logged in, known to every replica: a session is what its signature says, and is kept nowhere.

What is kept is which sessions have ended before their time, by a digest and until they would have ended anyway; the
replicas tell each other that.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.logger import Logger

from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError
from cachew.replicas.change import change, moment_of
from cachew.replicas.records import CLOCKS_APART, Records

_ENDED = "admin-sessions/ended"
_MOST_ENDED = 1000
_LONGEST = 200
_TRIES = 5


@dataclass(frozen=True)
class Session:
    """A browser that is logged in.

    :param csrf: what its actions must carry in ``X-CSRF-Token``.
    :param expires: when it ends, in seconds since the epoch.
    """

    csrf: str
    expires: float


class Sessions:
    """Opens, recognises and ends sessions.

    :param key: gives the secret by which they are signed, as far as it is known by now.
    :param find_key: finds out which one the replicas have.
    :param lifetime: how long one lasts, in seconds.
    :param clock: what time it is.
    :param records: where replicas tell each other which have ended.
    :param background: where that is told.
    :param random: makes unguessable text without a dot.
    """

    log = Logger()

    def __init__(
        self,
        *,
        key: Callable[[], bytes],
        find_key: Callable[[], Coroutine[Any, Any, object]],
        lifetime: float,
        clock: Clock,
        records: Records,
        background: Background,
        random: Callable[[], str] = secrets.token_urlsafe,
    ) -> None:
        self._key = key
        self._find_key = find_key
        self.lifetime = lifetime
        self._clock = clock
        self._records = records
        self._background = background
        self._random = random
        self._ended: dict[str, float] = {}

    def open(self) -> str:
        """Return what a browser that is logged in shows from now on."""
        said = f"{self._random()}.{int(self._clock.now() + self.lifetime)}"
        return f"{said}.{self._signed('session', said)}"

    def find(self, shown: str) -> Session | None:
        """Return the session that a browser shows, None when it is none of ours or has ended."""
        said, _, signature = shown.rpartition(".")
        if len(shown) > _LONGEST or not shown.isascii():
            return None
        if not hmac.compare_digest(signature, self._signed("session", said)) or _digest(said) in self._ended:
            return None
        expires = float(said.rpartition(".")[2])
        now = self._clock.now()
        # One that lasts longer than any may was signed under another clock.
        if not now < expires <= now + self.lifetime + CLOCKS_APART:
            return None
        return Session(self._signed("csrf", said), expires)

    def end(self, shown: str) -> None:
        """End the session that a browser shows, on all replicas."""
        session = self.find(shown)
        if session is not None:
            self._ended[_digest(shown.rpartition(".")[0])] = session.expires
            self._background.start(self.share(), "telling which sessions have ended")

    async def begin(self) -> None:
        """Find out what the other replicas know, before anybody logs in; a store that hangs is not waited for."""
        self._background.start(self._find_key(), "search for the replicas' secret")
        self._background.start(self.share(), "asking which sessions have ended")

    async def share(self) -> None:
        """Tell the others which sessions have ended here, and learn which have elsewhere."""

        def joined(known: Mapping[str, float] | None, damaged: bool) -> Mapping[str, Any] | None:
            every = self._lasting({**(known or {}), **self._ended})
            return None if known is not None and every == known else {"ended": every}

        try:
            found = await change(self._records, _ENDED, read=_read, to=joined, tries=_TRIES)
        except CachewError as error:
            self.log.debug("which sessions have ended is known here alone: {error}", error=str(error))
        else:
            self._ended = self._lasting({**self._ended, **(_read(found) or {})})

    def _lasting(self, ended: Mapping[str, float]) -> dict[str, float]:
        now = self._clock.now()
        lasting = sorted((item for item in ended.items() if item[1] > now), key=lambda item: -item[1])
        return dict(lasting[:_MOST_ENDED])

    def _signed(self, purpose: str, said: str) -> str:
        return hmac.new(self._key(), f"{purpose} {said}".encode(), "sha256").hexdigest()


def _read(fields: Mapping[str, Any]) -> dict[str, float] | None:
    ended = fields.get("ended")
    if not isinstance(ended, dict):
        return None
    moments = {name: moment_of(at) for name, at in ended.items()}
    return {name: at for name, at in moments.items() if at is not None}


def _digest(said: str) -> str:
    return hashlib.sha256(said.encode()).hexdigest()
