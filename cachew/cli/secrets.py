"""What no message may show: credentials that the user gave, in whatever form somebody repeats them."""

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Iterable, Mapping
from urllib.parse import unquote, urlsplit

_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")
_IN_QUERY = re.compile(r"(?i)([?&][\w-]*(?:token|secret|pass|key|sig|auth)[\w-]*=)[^&\s'\"]+")
_SHORTEST = 4
_HIDDEN = "***"


def secrets_of(authorization: str | None, environ: Mapping[str, str]) -> list[str]:
    """Return everything that is secret, the longest first.

    :param authorization: the ``Authorization`` header's value.
    :param environ: the environment, whose proxies may have passwords.
    """
    found = set(_forms(authorization or ""))
    for name, value in environ.items():
        if name.lower().endswith("_proxy") and (password := _password(value)):
            found |= {password, unquote(password)}
    return sorted((form for form in found if len(form) >= _SHORTEST), key=len, reverse=True)


def _forms(authorization: str) -> Iterable[str]:
    value = authorization.strip()
    yield value
    scheme, _, credentials = value.partition(" ")
    yield credentials.strip() or scheme
    try:
        decoded = b64decode(credentials, validate=True).decode()
    except (Error, ValueError):
        return
    yield decoded
    yield decoded.partition(":")[2]


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return url


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return a text without secrets, and without what URLs have before an ``@`` or as a token in their query."""
    for secret in secrets:
        text = text.replace(secret, _HIDDEN).replace(repr(secret)[1:-1], _HIDDEN)
    return _IN_QUERY.sub(rf"\1{_HIDDEN}", _IN_URL.sub(f"{_HIDDEN}@", text))
