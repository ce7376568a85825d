"""Requests to one cachew server, over a pool of kept-alive connections that threads share.

The authorization header goes to that server only; redirects are not followed, because they would carry it elsewhere.
"""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from cachew.client.errors import ClientError, NotCached, ServerRefused, ServerUnreachable

PIECE = 256 * 1024
_ERROR_TEXT = 4096
_JSON_LIMIT = 16 * 1024 * 1024
Body = bytes | Iterable[bytes] | BinaryIO


class Http:
    """A client of one server.

    :param server: its base URL, without a trailing slash.
    :param authorization: the value of the ``Authorization`` header, None for none.
    :param pool: the connections; urllib3's own pool or proxy manager.
    :param connect_timeout: seconds until a connection must stand.
    :param idle_timeout: seconds that may pass between two pieces of an answer.
    """

    def __init__(
        self,
        *,
        server: str,
        authorization: str | None,
        pool: urllib3.PoolManager,
        connect_timeout: float = 10.0,
        idle_timeout: float = 60.0,
    ) -> None:
        self.server = server
        self.authorization = authorization
        self._pool = pool
        self._connect_timeout = connect_timeout
        self._idle_timeout = idle_timeout

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        patience: float | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and return its answer, whatever its status, with the body still to be read.

        :param url: an absolute URL.
        :param patience: seconds to wait for the answer, when that may take longer than a pause within one.
        :raise ServerUnreachable: when there is no answer.
        """
        sent = {"Accept-Encoding": "identity", "User-Agent": "cachew-client", **(headers or {})}
        if self.authorization and self.is_own(url):
            sent["Authorization"] = self.authorization
        try:
            return self._pool.request(
                method,
                url,
                headers=sent,
                body=body,
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(connect=self._connect_timeout, read=patience or self._idle_timeout),
            )
        except HTTPError as error:
            raise unreachable(self.server, error) from error

    def is_own(self, url: str) -> bool:
        """Tell whether a URL is on this server."""
        return urlsplit(url)[:2] == urlsplit(self.server)[:2]

    def json(self, method: str, url: str, *, value: object = None, patience: float | None = None) -> Any:
        """Send a request and return its JSON answer.

        :param value: what is sent as JSON, None for no body.
        :raise ServerRefused: when the status is not 200.
        """
        body = None if value is None else json.dumps(value).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        response = self.request(method, url, headers=headers, body=body, patience=patience)
        with closing(response):
            if response.status != 200:
                raise refusal(response, url)
            try:
                return json.loads(response.read(_JSON_LIMIT))
            except (ValueError, HTTPError) as error:
                raise ClientError(f"{url} did not answer with JSON: {error}") from error


@contextlib.contextmanager
def closing(response: urllib3.BaseHTTPResponse) -> Iterator[None]:
    """Give a response's connection back when nothing of it is unread, and close it otherwise."""
    try:
        yield
    finally:
        if response.length_remaining == 0:
            response.drain_conn()
        response.close()


def unreachable(server: str, error: Exception) -> ServerUnreachable:
    """Word a failed connection."""
    said = str(getattr(error, "reason", None) or error).rpartition(": ")[2]
    reason = re.sub(r"^\[Errno -?\d+\] ", "", said) or type(error).__name__
    return ServerUnreachable(
        f"cannot talk to the server at {server}: {reason}",
        "Check that it runs and that --url (or CACHEW_URL) names it.",
    )


def refusal(response: urllib3.BaseHTTPResponse, url: str) -> ServerRefused:
    """Turn an answer that is not a success into an error, with the start of the server's own words."""
    try:
        text = response.read(_ERROR_TEXT).decode("utf-8", "replace")
    except HTTPError:
        text = ""
    words = "".join(c for c in " ".join(text.split()) if c.isprintable())[:300]
    message = f"{url}: {response.status} {response.reason or ''}".rstrip() + (f": {words}" if words else "")
    if response.status == 404:
        return NotCached(message, status=404, advice="Check the name; the server may also not admit it.")
    return ServerRefused(message, status=response.status, advice=_advice(response))


def _advice(response: urllib3.BaseHTTPResponse) -> str:
    if response.status in (401, 403):
        return "Give credentials that are allowed to read it with --authorization or CACHEW_AUTHORIZATION."
    if 300 <= response.status < 400:
        return f"The server redirects to {response.headers.get('Location', 'nowhere')}; use that address as --url."
    if response.status in (429, 502, 503, 504):
        return "Try again in a moment."
    return ""
