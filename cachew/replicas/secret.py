"""A secret that all replicas have, so that one believes what another has signed.

It lies where their records lie. While these can't be had a replica has a secret of its own: what it signs is good with
itself only, and nobody waits. When the record is damaged or gone, whoever notices puts the secret there that it has,
and the others take that: what was signed with another is void then, and has to be signed again.
"""

from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger

from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError
from cachew.replicas.change import change
from cachew.replicas.records import Records

_LOOK_AGAIN = 30.0
"""Seconds after which whoever uses the secret has it looked up again."""

_LENGTH = 32
_TRIES = 5


class SharedSecret:
    """The secret.

    :param records: where it lies.
    :param name: its record's name.
    :param own: 32 random bytes: the secret of all if this replica is the first, of this one alone while it must be.
    :param clock: what time it is.
    :param background: where it is looked for.
    """

    log = Logger()

    def __init__(self, *, records: Records, name: str, own: bytes, clock: Clock, background: Background) -> None:
        self._records = records
        self._name = name
        self._own = own
        self._clock, self._background = clock, background
        self._found: bytes | None = None
        self._next = float("-inf")

    def __call__(self) -> bytes:
        """Return the secret, as far as it is known by now."""
        if self._clock.seconds() >= self._next:
            self._next = self._clock.seconds() + _LOOK_AGAIN
            self._background.start(self.find(), "search for the replicas' secret")
        return self._own if self._found is None else self._found

    async def find(self) -> None:
        """Read the secret; give the one that this replica has to all if there is none."""
        mine = {"secret": (self._own if self._found is None else self._found).hex()}
        try:
            agreed = await change(
                self._records,
                self._name,
                read=_secret,
                to=lambda present, damaged: None if present is not None else mine,
                tries=_TRIES,
            )
        except CachewError as error:
            if self._found is None:
                self.log.warn("this replica signs for itself alone: {error}", error=str(error))
        else:
            self._found = _secret(agreed)
            self._next = self._clock.seconds() + _LOOK_AGAIN


def _secret(fields: Mapping[str, Any]) -> bytes | None:
    try:
        secret = bytes.fromhex(fields["secret"])
    except (KeyError, TypeError, ValueError):
        return None
    return secret if len(secret) >= _LENGTH else None
