"""Challenges whose answers no server in between can pass on (pure).

``Negotiate`` and ``NTLM`` prove who is at the other end of one connection, and whatever comes over it afterwards is let
in: where connections are shared, one client would be let in as another (RFC 4559, section 6). The answer to ``Digest``
is of one address (RFC 7616, section 3.4.3), and a client knows the upstream's by another. Servers for Windows offer
these beside ``Basic``, and git takes what is strongest. So neither these challenges nor what answers them is passed on.
"""

import re
from collections.abc import Iterable, Iterator

from cachew.http.requests import is_bound

NAMES = frozenset({b"www-authenticate", b"lfs-authenticate"})
"""The headers that have challenges in them."""

EXPLANATION = (
    b"the upstream lets people in only by proofs that can't be passed on (Negotiate, NTLM, Digest); "
    b"have it take passwords or tokens (Basic) too\n"
)
"""What a client is told, with 403, where nothing else is asked for."""
EXPLANATION_HEADERS = ((b"Content-Type", b"text/plain"),)
_PART = re.compile(rb'(?:[^",]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+', re.DOTALL)
"""Whatever begins as a quoted text matches to its end or the header's: a host could make a second look take minutes."""
_PARAMETER = re.compile(rb"\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*=")


def passed_on(value: bytes) -> bytes:
    """Return the challenges of a header that can be passed on; empty when there is none."""
    challenges = list(_challenges(value))
    kept = [challenge for challenge in challenges if not is_bound(challenge)]
    return value if len(kept) == len(challenges) else b", ".join(kept)


def has_only_bound(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether an answer has challenges, and none that can be passed on."""
    values = [value for name, value in headers if name.lower() == b"www-authenticate"]
    return bool(values) and not any(passed_on(value) for value in values)


def _challenges(value: bytes) -> Iterator[bytes]:
    """Yield the challenges of a header, see RFC 9110, section 11.6.1: both they and their parts are in commas."""
    begun: list[bytes] = []
    for part in _PART.findall(value):
        if not part.strip():  # an empty element of the list, which says nothing (RFC 9110, section 5.6.1)
            continue
        if begun and not _PARAMETER.match(part):
            yield b",".join(begun).strip()
            begun = []
        begun.append(part)
    if begun:
        yield b",".join(begun).strip()
