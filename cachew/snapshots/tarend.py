"""Where a tar stream ends (pure).

GNU tar fills its last record with zeros, up to 256 KiB with large records. A reader that stops at the end of the
archive leaves them unread, and whoever decompresses for it dies of a broken pipe. So the zeros beyond the two blocks
that mark the end are dropped.
"""

BLOCK = 512
_END = 2 * BLOCK
_SIZE = slice(124, 136)


class TarEnd:
    """Watches a tar stream of GNU format go by and cuts it at its end."""

    def __init__(self) -> None:
        self._head = b""
        self._skip = 0
        self._marked = 0

    def feed(self, data: bytes) -> bytes:
        """Return the part of a piece that belongs to the archive."""
        position = 0
        while position < len(data) and self._marked < _END:
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
            else:
                step = min(BLOCK - len(self._head), len(data) - position)
                self._head += data[position : position + step]
                if len(self._head) == BLOCK:
                    self._take_head()
            position += step
        return data[:position]

    def _take_head(self) -> None:
        head, self._head = self._head, b""
        if not any(head):
            self._marked += BLOCK
            return
        self._skip = -(-_number(head[_SIZE]) // BLOCK) * BLOCK


def _number(field: bytes) -> int:
    """Read a size: octal digits, or base 256 where the first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)
