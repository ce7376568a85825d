"""Grants: what shows that an upstream has just allowed a client to download one LFS object (pure).

A grant holds all that is needed to get the object, so that nothing has to be remembered for clients who may never come.
The client could read the upstream's own address anyway; what it can't do is to change it, or to make a grant itself.
It is of use only together with the credential that it was given to, and only while the repository is the one that it
was. Whether that credential is still good is for the upstream to say, see :mod:`cachew.web.lfsleave`.
"""

import base64
import hmac
import json
from dataclasses import dataclass

from cachew.plumbing.errors import Forbidden, Unauthorized
from cachew.upstream.lfsbatch import WantedObject

_LONGEST = 7 * 1024
_CONTEXT = b"cachew: one download of one LFS object\0"
_HOLDER = b"cachew: the holder of a grant\0"
_CHALLENGE = 'Basic realm="cachew"'
_AGAIN = "it comes with the answer to a batch request, and is good for that object of that repository for a while"


@dataclass(frozen=True)
class Grant:
    """Leave to download one object.

    :param repository: the name of the repository.
    :param instance: the repository's id; another one under the same name has another.
    :param holder: who may use it, see :func:`holder_of`.
    :param wanted: the object.
    :param expires: when it ends, in seconds since the epoch.
    :param href: where the upstream has the object.
    :param headers: what its storage wants to be shown.
    """

    repository: str
    instance: str
    holder: str
    wanted: WantedObject
    expires: float
    href: str
    headers: tuple[tuple[str, str], ...]


def holder_of(credential: str | None, key: bytes) -> str:
    """Return what tells whom a grant was given to; it says nothing about the credential.

    :param credential: what the client showed, None for nothing.
    :param key: that of grants.
    """
    if credential is None:
        return ""
    return hmac.digest(key, _HOLDER + credential.encode("utf-8", "surrogateescape"), "sha256").hex()


def seal(grant: Grant, key: bytes) -> str | None:
    """Return a grant as a client carries it.

    :param key: secret; whoever has it can make grants.
    :return: a text fit for a header, None when it would be too long for what may be on the client's way.
    """
    fields = (
        grant.repository,
        grant.instance,
        grant.holder,
        grant.wanted.oid,
        grant.wanted.size,
        grant.expires,
        grant.href,
        grant.headers,
    )
    payload = json.dumps(fields, separators=(",", ":")).encode()
    text = f"{_encoded(payload)}.{_encoded(_mac(payload, key))}"
    return text if len(text) <= _LONGEST else None


def unseal(
    text: str, key: bytes, *, repository: str, instance: str, credential: str | None, oid: str, now: float
) -> Grant:
    """Return the grant that a client shows.

    :param repository: of whose object it asks.
    :param instance: the repository's id.
    :param credential: what the client shows besides, None for nothing.
    :param oid: of the object.
    :param now: the time of day, in seconds since the epoch.
    :raise Unauthorized: when it was given to a credential and none is shown.
    :raise Forbidden: when it is none, or not for this client or object, or not any more.
    """
    payload, dot, mac = text.partition(".")
    data = _decoded(payload)
    if not dot or len(text) > _LONGEST or not hmac.compare_digest(_decoded(mac), _mac(data, key)):
        raise Forbidden(f"this needs the grant of this server; {_AGAIN}")
    name, of, holder, granted, size, expires, href, headers = json.loads(data)
    if (name, granted) != (repository, oid):
        raise Forbidden(f"the grant is for another object; {_AGAIN}")
    if now >= expires or of != instance:
        raise Forbidden(f"the grant has expired; {_AGAIN}")
    _require_holder(holder, credential, key)
    return Grant(
        name, of, holder, WantedObject(oid, size), expires, href, tuple((one, other) for one, other in headers)
    )


def _require_holder(holder: str, credential: str | None, key: bytes) -> None:
    if holder and credential is None:
        # git-lfs shows its credentials where it is asked for them.
        raise Unauthorized("the grant needs the credentials that it was given to", _CHALLENGE)
    if not hmac.compare_digest(holder, holder_of(credential, key)):
        raise Forbidden(f"the grant was given to another client; {_AGAIN}")


def _mac(payload: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _CONTEXT + payload, "sha256")


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except ValueError:
        return b""
