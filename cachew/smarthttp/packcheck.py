"""Is an answer of upload-pack a whole pack, fit to be kept (pure)?

Only the pkt-line headers and the first bytes of each payload are looked at, so 300 MB pass at the speed of their
packets, of which there are 5,000.
"""

import re

_DIGITS = re.compile(rb"[0-9a-f]{4}")


class PackCheck:
    """Watches an answer go by.

    It is whole when it carries pack data in side-band 1, no error (an ``ERR`` packet or side-band 3), and ends with a
    flush packet. Answers without side-band, rounds of negotiation and listings of shallow commits never are.
    """

    def __init__(self) -> None:
        self._head = b""
        self._skip = 0
        self._pack = self._error = self._flushed = False

    @property
    def complete(self) -> bool:
        """Whether what has gone by is a whole answer with a pack."""
        return self._pack and self._flushed and not (self._error or self._skip or self._head)

    def feed(self, data: bytes) -> None:
        """Watch a piece go by."""
        position = 0
        while position < len(data) and not self._error:
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
            else:
                step = self._read_head(data, position)
            position += step

    def _read_head(self, data: bytes, position: int) -> int:
        taken = data[position : position + self._missing()]
        self._head += taken
        if len(self._head) >= 4 and not _DIGITS.fullmatch(self._head[:4]):
            self._error = True
        elif self._missing() == 0:
            self._judge()
        return len(taken)

    def _missing(self) -> int:
        """How many bytes of the header and of the start of the payload have not come."""
        if len(self._head) < 4:
            return 4 - len(self._head)
        return min(max(int(self._head[:4], 16), 4), 8) - len(self._head)

    def _judge(self) -> None:
        length, start = int(self._head[:4], 16), self._head[4:]
        self._head = b""
        self._skip = max(length - 4 - len(start), 0)
        self._flushed = length == 0
        self._pack = self._pack or start[:1] == b"\x01"
        self._error = start[:1] == b"\x03" or start == b"ERR "
