"""A secret that all replicas have, so that one believes what another has signed.

It lies where their records lie. While these can't be had a replica has a secret of its own: what it signs is good with
itself only, and nobody waits.
"""

from collections.abc import Callable
from contextlib import suppress

from twisted.logger import Logger

from cachew.plumbing.background import Background
from cachew.plumbing.errors import CachewError, Conflict
from cachew.replicas.interface import Records

_RETRY = 30.0


class SharedSecret:
    """The secret.

    :param records: where it lies.
    :param name: its record's name.
    :param own: 32 random bytes: the secret of all if this replica is the first, of this one alone while it must be.
    :param seconds: a monotonic clock.
    :param background: where it is looked for.
    """

    log = Logger()

    def __init__(
        self, *, records: Records, name: str, own: bytes, seconds: Callable[[], float], background: Background
    ) -> None:
        self._records, self._name, self._own = records, name, own
        self._seconds, self._background = seconds, background
        self._found: bytes | None = None
        self._next = float("-inf")

    def __call__(self) -> bytes:
        """Return the secret, as far as it is known by now."""
        if self._found is None and self._seconds() >= self._next:
            self._next = self._seconds() + _RETRY
            self._background.start(self.find(), "search for the replicas' secret")
        return self._own if self._found is None else self._found

    async def find(self) -> None:
        """Read the secret; give it to all if nobody has yet."""
        try:
            self._found = await self._read() or await self._offer()
        except CachewError as error:
            self.log.warn("this replica signs for itself alone: {error}", error=str(error))

    async def _read(self) -> bytes | None:
        record = await self._records.get(self._name)
        try:
            secret = bytes.fromhex(record.value["secret"]) if record is not None else b""
        except (KeyError, TypeError, ValueError):
            secret = b""
        return secret if len(secret) >= len(self._own) else None

    async def _offer(self) -> bytes | None:
        present = await self._records.get(self._name)
        version = None if present is None else present.version
        with suppress(Conflict):  # another replica was faster
            await self._records.put(self._name, {"secret": self._own.hex()}, version=version)
        return await self._read()
