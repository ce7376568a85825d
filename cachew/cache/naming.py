"""How objects are named (pure).

A namespace is a short word; a key is any text, kept as its SHA-256, unless it is one already. So every backend deals
with names that are safe as file names, as object names and in SQL, whatever a client chose.
"""

import hashlib
import re

from cachew.plumbing.errors import BadRequest

_NAMESPACE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_ETAG = re.compile(r"[A-Za-z0-9._:/+=-]+")
LONGEST_NAMESPACE = 128
"""Characters that a namespace may have: it is a directory's name."""


def namespace_name(namespace: str) -> str:
    """Return a namespace that is well formed.

    :raise BadRequest: when it is not.
    """
    if len(namespace) > LONGEST_NAMESPACE or not _NAMESPACE.fullmatch(namespace):
        raise BadRequest(
            "a namespace begins with a letter or a digit, goes on with letters, digits, '_' and '-', "
            f"and has at most {LONGEST_NAMESPACE} characters"
        )
    return namespace


def object_key(key: str) -> str:
    """Return the 64 lower-case hex digits that stand for a key.

    :param key: 64 hex digits, taken as they are, or any other text, of which this is the SHA-256.
    :raise BadRequest: when it is empty or not encodable.
    """
    if not key:
        raise BadRequest("the key is empty")
    if _DIGEST.fullmatch(key):
        return key.lower()
    try:
        return hashlib.sha256(key.encode()).hexdigest()
    except UnicodeEncodeError as error:
        raise BadRequest("the key is not UTF-8") from error


def entity_tag(etag: str) -> str:
    """Return an entity tag (RFC 9110, section 8.8.3, without its quotes) that is well formed.

    :raise BadRequest: when it is not.
    """
    if not _ETAG.fullmatch(etag):
        raise BadRequest("an ETag consists of ASCII letters, digits and ._-:/+=")
    return etag
