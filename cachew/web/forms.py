"""Small readings of a request: its query, its form body, its cookies, its headers.

The server streams bodies, so none of this is done before a handler asks, and never without a bound.
"""

import json
from urllib.parse import parse_qs

from cachew.http.requests import StreamingRequest, text_of
from cachew.plumbing.errors import BadRequest


def header(request: StreamingRequest, name: str) -> str:
    """Return a header's text, empty when it is absent or is sent more than once.

    :raise BadRequest: when it is no text.
    """
    values = request.requestHeaders.getRawHeaders(name.encode(), [])
    return text_of(name, values).encode("latin-1").decode("utf-8", "replace").strip() if len(values) == 1 else ""


def query_field(request: StreamingRequest, name: str) -> str:
    """Return a field of the query, empty when it is not there."""
    return _field(request.raw_query, name)


async def form_field(request: StreamingRequest, name: str, *, limit: int = 4096) -> str:
    """Return a field of an urlencoded body, empty when it is not there.

    :param limit: the largest body, in bytes.
    :raise TooLarge: when the body is larger.
    """
    return _field(await request.read_body(limit), name)


async def form_fields(request: StreamingRequest, *names: str, limit: int = 4096) -> dict[str, str]:
    """Return fields of an urlencoded body, empty where they are not there.

    :param limit: the largest body, in bytes.
    :raise TooLarge: when the body is larger.
    """
    body = await request.read_body(limit)
    return {name: _field(body, name) for name in names}


async def said(request: StreamingRequest, name: str, *, limit: int = 4096) -> str:
    """Return what a body says of one thing, whether as plain text, as JSON or as a form, empty when it says nothing.

    Clients often call their body a form whatever it is, so what it looks like counts.

    :param limit: the largest body, in bytes.
    :raise BadRequest: when it is malformed.
    :raise TooLarge: when it is larger.
    """
    body = await request.read_body(limit)
    text = body.decode("utf-8", "replace").strip()
    if text.startswith(("{", '"', "[")):
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise BadRequest("the body is malformed JSON") from None
        value = document.get(name, "") if isinstance(document, dict) else document
        return value if isinstance(value, str) else ""
    return _field(body, name) if "=" in text or "&" in text else text


def _field(encoded: bytes, name: str) -> str:
    try:
        return parse_qs(encoded.decode("ascii"), max_num_fields=20).get(name, [""])[0]
    except ValueError:
        raise BadRequest("malformed form") from None


def cookie(request: StreamingRequest, name: str) -> str:
    """Return a cookie's value, empty when it is not there."""
    for pair in header(request, "Cookie").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value
    return ""
