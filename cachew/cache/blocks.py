"""Digests of an object's content, whole and by blocks (pure).

The digest of the whole, a SHA-256, names the content. Those of the blocks let a reader begin anywhere and still never
hand on a byte that was damaged in storage: it reads whole blocks, checks each, and gives out what it was asked for.
They find damage, not malice, since who can write the content can write them too. So they are GMACs (NIST SP 800-38D)
under a key that everybody knows, which cost next to nothing.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import GCM

from cachew.plumbing.errors import CorruptObject

BLOCK = 1024 * 1024
"""Bytes in a block."""
_WIDTH = 8


class _BlockDigest:
    def __init__(self) -> None:
        # Processors have instructions for it: 5 to 20 GB/s, where they do 2 of SHA-256.
        self._mac = Cipher(AES128(bytes(16)), GCM(bytes(12))).encryptor()

    def update(self, data: bytes | memoryview) -> None:
        self._mac.authenticate_additional_data(data)

    def digest(self) -> bytes:
        self._mac.finalize()
        return self._mac.tag[:_WIDTH]


def _check(data: bytes | memoryview) -> bytes:
    digest = _BlockDigest()
    digest.update(data)
    return digest.digest()


@dataclass(frozen=True)
class Blocks:
    """The digests of an object's blocks.

    :param size: bytes of the object.
    :param digests: the blocks' digests, one after another.
    """

    size: int
    digests: bytes

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return len(self.digests) // _WIDTH

    @property
    def consistent(self) -> bool:
        """Whether there are as many digests as the size asks for."""
        return len(self.digests) == _WIDTH * -(-self.size // BLOCK)

    def bounds(self, number: int) -> tuple[int, int]:
        """Return where a block begins and where it ends, in bytes."""
        return number * BLOCK, min((number + 1) * BLOCK, self.size)

    def verify(self, first: int, data: bytes | memoryview) -> None:
        """Check content that begins with block ``first`` and ends with a block's end.

        :raise CorruptObject: when it is not what was stored.
        """
        view = memoryview(data)
        for number, start in enumerate(range(0, len(view), BLOCK), first):
            piece = view[start : start + BLOCK]
            begin, end = self.bounds(number)
            if len(piece) != end - begin or _check(piece) != self.digests[number * _WIDTH : (number + 1) * _WIDTH]:
                raise CorruptObject(f"block {number} of a stored object is damaged")

    def covering(self, offset: int, length: int) -> range:
        """Return the numbers of the blocks that hold a region."""
        if length <= 0:
            return range(0)
        return range(offset // BLOCK, (offset + length - 1) // BLOCK + 1)

    def to_text(self) -> str:
        """Return the digests as text."""
        return base64.b64encode(self.digests).decode()

    @classmethod
    def from_text(cls, size: int, text: str) -> "Blocks":
        """Read what :meth:`to_text` gave.

        :raise ValueError: when it is not that.
        """
        return cls(size, base64.b64decode(text, validate=True))


class ContentDigest:
    """Takes content piece by piece and has its size and digests in the end."""

    def __init__(self) -> None:
        self.size = 0
        self._whole = hashlib.sha256()
        self._digests = bytearray()
        self._block = _BlockDigest()
        self._rest: bytes | None = None

    def update(self, data: bytes) -> None:
        """Take the next piece."""
        self._whole.update(data)
        for piece in self._pieces(memoryview(data)):
            self._block.update(piece)
            self.size += len(piece)
            if self.size % BLOCK == 0:
                self._end_block()

    def _pieces(self, view: memoryview) -> Iterator[memoryview]:
        while view:
            room = BLOCK - self.size % BLOCK
            yield view[:room]
            view = view[room:]

    def _end_block(self) -> None:
        self._digests += self._block.digest()
        self._block = _BlockDigest()

    @property
    def digest(self) -> str:
        """The SHA-256 of what has come, in hex."""
        return self._whole.hexdigest()

    def blocks(self) -> Blocks:
        """Return the digests of the blocks of what has come; nothing more may come then."""
        if self._rest is None:
            self._rest = self._block.digest() if self.size % BLOCK else b""
        return Blocks(self.size, bytes(self._digests) + self._rest)
