"""Object ids as a request names them, many of them in little memory (pure).

A mirror of a large repository wants a million refs; as strings their ids take three times what they took on the wire.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import overload

_LONGEST = 32
_RECORD = 1 + _LONGEST


class Oids(Sequence[str]):
    """Object ids in hex, in lower case and in their order.

    :param oids: the first ones, SHA-1 or SHA-256.
    """

    def __init__(self, oids: Iterable[str] = ()) -> None:
        self._records = bytearray()
        for oid in oids:
            self.append(oid)

    def append(self, oid: str) -> None:
        """Add one.

        :raise ValueError: when it is not hex.
        """
        binary = bytes.fromhex(oid)
        self._records += bytes((len(binary),)) + binary.ljust(_LONGEST, b"\0")

    def __len__(self) -> int:
        return len(self._records) // _RECORD

    def _at(self, index: int) -> str:
        start = index * _RECORD
        return self._records[start + 1 : start + 1 + self._records[start]].hex()

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self._at(number) for number in range(*index.indices(len(self)))]
        return self._at(range(len(self))[index])

    def __iter__(self) -> Iterator[str]:
        return map(self._at, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} object ids>"

    def digest(self) -> str:
        """Return a digest that depends neither on their order nor on how often one is there."""
        records = (self._records[start : start + _RECORD] for start in range(0, len(self._records), _RECORD))
        digest, before = sha256(), b""
        for record in sorted(map(bytes, records)):
            if record != before:
                digest.update(record)
            before = record
        return digest.hexdigest()
