"""Files that end in the digest of all that comes before, as git's packs and indexes do (pure)."""

from typing import Any


class TrailingDigest:
    """Takes such a file piece by piece.

    :param digest: a new digest of :mod:`hashlib`.
    """

    def __init__(self, digest: Any) -> None:
        self._digest = digest
        self._held = b""

    def update(self, content: bytes | memoryview) -> None:
        """Take what comes next."""
        view, size = memoryview(content), self._digest.digest_size
        if len(view) < size:
            view = memoryview(self._held + view)
            self._held = b""
        self._digest.update(self._held)
        cut = max(0, len(view) - size)
        self._digest.update(view[:cut])
        self._held = bytes(view[cut:])

    def holds(self) -> bool:
        """Tell whether what came ends in its digest."""
        return bool(self._digest.digest() == self._held)
