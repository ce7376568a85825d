"""Grants: what shows that an upstream has just allowed a client to download one LFS object (pure).

A grant holds all that is needed to get the object, so that nothing has to be remembered for clients who may never come.
The client could read the upstream's own address anyway; what it can't do is to change it, or to make a grant itself.
"""

import base64
import hmac
import json
from dataclasses import dataclass

from cachew.plumbing.errors import Forbidden
from cachew.smarthttp.lfsbatch import Wanted

_LONGEST = 7 * 1024
_CONTEXT = b"cachew: one download of one LFS object\0"
_AGAIN = "it comes with the answer to a batch request, and is good for that object of that repository for a while"


@dataclass(frozen=True)
class Grant:
    """Leave to download one object.

    :param repository: the name of the repository.
    :param wanted: the object.
    :param expires: when it ends, in seconds since the epoch.
    :param href: where the upstream has the object.
    :param headers: what its storage wants to be shown.
    """

    repository: str
    wanted: Wanted
    expires: float
    href: str
    headers: tuple[tuple[str, str], ...]


def seal(grant: Grant, key: bytes) -> str | None:
    """Return a grant as a client carries it.

    :param key: secret; whoever has it can make grants.
    :return: a text fit for a header, None when it would be too long for what may be on the client's way.
    """
    fields = (
        grant.repository, grant.wanted.oid, grant.wanted.size, grant.expires, grant.href, grant.headers
    )  # fmt: skip
    payload = json.dumps(fields, separators=(",", ":")).encode()
    text = f"{_encoded(payload)}.{_encoded(_mac(payload, key))}"
    return text if len(text) <= _LONGEST else None


def unseal(text: str, key: bytes, *, repository: str, oid: str, now: float) -> Grant:
    """Return the grant that a client shows.

    :param repository: of whose object it asks.
    :param oid: of the object.
    :param now: the time of day, in seconds since the epoch.
    :raise Forbidden: when it is none, or not for this object, or not any more.
    """
    payload, dot, mac = text.partition(".")
    data = _decoded(payload)
    if not dot or len(text) > _LONGEST or not hmac.compare_digest(_decoded(mac), _mac(data, key)):
        raise Forbidden(f"this needs the grant of this server; {_AGAIN}")
    name, granted, size, expires, href, headers = json.loads(data)
    if (name, granted) != (repository, oid):
        raise Forbidden(f"the grant is for another object; {_AGAIN}")
    if now >= expires:
        raise Forbidden(f"the grant has expired; {_AGAIN}")
    return Grant(name, Wanted(oid, size), expires, href, tuple((one, other) for one, other in headers))


def _mac(payload: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _CONTEXT + payload, "sha256")


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except ValueError:
        return b""
