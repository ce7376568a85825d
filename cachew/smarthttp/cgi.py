"""The header that a CGI program writes before its body (pure; RFC 3875, section 6)."""

import re
from dataclasses import dataclass

from cachew.plumbing.errors import BadRequest

MAX_HEADER = 16 * 1024
"""The longest header that is accepted, in bytes."""
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*")
_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True)
class CgiHead:
    """A complete header.

    :param status: the HTTP status; 200 when the program names none.
    :param headers: all other fields, names in lower case.
    :param rest: what has come of the body.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    rest: bytes


class HeadParser:
    """Reads a header from pieces."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> CgiHead | None:
        """Take a piece and return the header once it is complete.

        :raise BadRequest: when it is malformed or too long.
        """
        self._data += data
        end = _END.search(self._data)
        if (end.start() if end else len(self._data)) > MAX_HEADER:
            raise BadRequest("the header of the program is too long")
        if end is None:
            return None
        fields = [_field(line) for line in re.split(rb"\r?\n", self._data[: end.start()])]
        status = next((value for name, value in fields if name == "status"), "200")
        if not re.fullmatch(r"[2-5][0-9][0-9]( .*)?", status):
            raise BadRequest(f"the program answered with status {status[:20]!r}")
        headers = tuple(field for field in fields if field[0] != "status")
        return CgiHead(int(status[:3]), headers, self._data[end.end() :])


def _field(line: bytes) -> tuple[str, str]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise BadRequest(f"the program wrote a bad header line {line[:80]!r}")
    return match[1].decode("ascii").lower(), match[2].decode("latin-1")
