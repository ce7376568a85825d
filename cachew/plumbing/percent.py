"""Percent-encoding (RFC 3986, section 2.1): one form for every text, so that it can be part of a name (pure).

What is encoded here consists of ASCII letters, digits and ``._~+@-`` and of escapes in upper case, and no two texts
have one encoding. Everything else may therefore separate parts of a name: ``/`` in paths and URLs, ``=`` in the names
of directories, a space or a colon in the keys of a cache.
"""

from urllib.parse import quote, unquote_to_bytes


def encoded(text: str) -> str:
    """Return a text as a segment of a path."""
    return quote(text, safe="+@", errors="surrogateescape")


def encoded_path(path: str) -> str:
    """Return a path of segments that are encoded each."""
    return "/".join(map(encoded, path.split("/")))


def decoded(data: bytes) -> bytes:
    """Undo every escape once; a percent sign that begins none is left alone."""
    return unquote_to_bytes(data)


def decoded_text(text: str) -> str:
    """Undo every escape of a text once; what is not UTF-8 then stays recognisable."""
    return decoded(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def lower(text: str) -> str:
    """Return a text with A-Z in lower case: no host is known to take any other letters for equal."""
    return text.translate(_LOWER)


_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
