"""An LFS object as a storage sends it: believed only when it is what its id says."""

import hashlib

from cachew.plumbing.errors import CorruptObject
from cachew.plumbing.streams import Source
from cachew.upstream.lfsbatch import WantedObject


class Verified:
    """A source that ends only when all of it was what it should be.

    :param source: gives the bytes.
    :param wanted: what they have to be.
    :param name: where they come from, for messages.
    """

    def __init__(self, source: Source, wanted: WantedObject, name: str) -> None:
        self._source = source
        self._wanted = wanted
        self._name = name
        self._digest, self._size = hashlib.sha256(), 0
        self._held = b""

    async def read(self, size: int) -> bytes:
        """Return the next bytes.

        :raise CorruptObject: instead of the last ones, when they are not what they should be.
        """
        while piece := await self._source.read(size):
            self._digest.update(piece)
            self._size += len(piece)
            if self._size > self._wanted.size:
                raise CorruptObject(f"{self._name} sent more than {self._wanted}")
            held, self._held = self._held, piece
            if held:
                return held
        if (self._size, self._digest.hexdigest()) != (self._wanted.size, self._wanted.oid):
            raise CorruptObject(f"{self._name} sent something else than {self._wanted}")
        held, self._held = self._held, b""
        return held

    def close(self) -> None:
        """Give the rest up."""
        self._source.close()
