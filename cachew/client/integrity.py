"""Checks that what arrives is what was announced: its length, and its SHA-256 where the entity tag is one.

The digest is made by a thread of its own, in order, while the bytes go on to whoever uses them.
"""

import hashlib
import re
from collections import deque

from cachew.client.clienterrors import DownloadCorrupt
from cachew.client.workers import Job, Workers

_SHA256 = re.compile(r'"([0-9a-f]{64})"')
_BEHIND = 16


class Integrity:
    """Counts and digests an object.

    :param size: the announced length in bytes, None for none.
    :param etag: the entity tag, with its quotes; empty for none.
    """

    def __init__(self, *, size: int | None, etag: str) -> None:
        match = _SHA256.fullmatch(etag)
        self._size = size
        self._expected = match[1] if match else None
        self._digest = hashlib.sha256()
        self._count = 0
        self._workers = Workers(1, "digest")
        self._pending: deque[Job[None]] = deque()

    @property
    def is_digested(self) -> bool:
        """Whether there is a digest to compare with."""
        return self._expected is not None

    def add(self, piece: bytes | memoryview) -> None:
        """Take the next piece, which must stay as it is until :meth:`settle` has seen to it."""
        self._count += len(piece)
        if self._expected:
            self._pending.append(self._workers.submit(self._digest.update, piece))
            self.settle(_BEHIND)

    def settle(self, behind: int = 0) -> None:
        """Wait until all pieces but the last ones are digested.

        :param behind: how many may not be yet.
        """
        while len(self._pending) > behind:
            self._pending.popleft().result()

    def verify(self) -> None:
        """Compare.

        :raise DownloadCorrupt: when something else was announced.
        """
        if self._size is not None and self._count != self._size:
            raise DownloadCorrupt(f"{self._count} bytes arrived instead of {self._size}", "Run the command again.")
        self.settle()
        if self._expected and self._digest.hexdigest() != self._expected:
            raise DownloadCorrupt("what arrived has not the announced SHA-256", "Run the command again.")

    def close(self) -> None:
        """Let the thread end; may be called more than once."""
        self._workers.close()
