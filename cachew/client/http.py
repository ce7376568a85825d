"""Requests to one cachew server.

The authorization header goes to that server only; redirects are not followed, because they would carry it elsewhere
(but see :mod:`cachew.client.location`).
"""

import contextlib
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cachew.client.clienterrors import BadUsage, ClientError, NotCached, ServerRefused, ServerUnreachable
from cachew.client.connections import BROKEN, Body, Connections, ServerResponse
from cachew.client.retries import said_wait

if TYPE_CHECKING:
    from cachew.client.gitcredentials import Offer

_ERROR_TEXT = 4096
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_JSON_LIMIT = 16 * 1024 * 1024


class Http:
    """A client of one server.

    :param server: its base URL, without a trailing slash.
    :param authorization: the value of the ``Authorization`` header, None for none.
    :param connections: the ways to it.
    :param idle_timeout: seconds that may pass between two pieces of an answer.
    :param offers: gives credentials for a URL and a challenge of the server's, when none is set.
    :param headers: what every request to the server carries besides.
    :param elsewhere: makes the ways to other servers, with nothing that proves who we are; None for the same ones.
    """

    def __init__(
        self,
        *,
        server: str,
        authorization: str | None,
        connections: Connections,
        idle_timeout: float = 60.0,
        offers: "Callable[[str, str], Iterable[Offer]]" = lambda url, challenge: (),
        headers: Mapping[str, str] | None = None,
        elsewhere: "Callable[[str], Connections] | None" = None,
    ) -> None:
        self.server = server
        self._elsewhere = (lambda url: connections) if elsewhere is None else elsewhere
        self._others: dict[str, Connections] = {}
        self._headers = dict(headers or {})
        self._offers = offers
        self._asking = threading.Lock()
        self.authorization = authorization
        self._connections = connections
        self._idle_timeout = idle_timeout

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        patience: float | None = None,
    ) -> ServerResponse:
        """Send a request and return its answer, whatever its status, with the body still to be read.

        :param url: an absolute URL.
        :param patience: seconds to wait for the answer, when that may take longer than a pause within one.
        :raise ServerUnreachable: when there is no answer.
        """
        send = partial(self._send, method, url, headers, body, patience)
        authorization = self.authorization if self.is_own(url) else None
        answer = send(authorization)
        if answer.status == 401 and authorization is None and self.is_own(url) and not _is_spent(body):
            return self._let_in(send, url, answer)
        return answer

    def _let_in(self, send: Callable[[str | None], ServerResponse], url: str, answer: ServerResponse) -> ServerResponse:
        """Send a request again with one credential after the other, until one is good; that is used from then on."""
        with self._asking:
            if self.authorization is not None:
                answer.close()
                return send(self.authorization)
            try:
                for offer in self._offers(url, answer.headers.get("WWW-Authenticate", "")):
                    answer.close()
                    answer = send(offer.authorization)
                    good = answer.status != 401
                    offer.tell(good)
                    if good:
                        self.authorization = offer.authorization
                        break
            except BaseException:
                answer.close()
                raise
        return answer

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: Body | None,
        patience: float | None,
        authorization: str | None,
    ) -> ServerResponse:
        sent = {"Accept-Encoding": "identity", "User-Agent": "cachew-client"}
        sent |= {**(self._headers if self.is_own(url) else {}), **(headers or {})}
        if authorization is not None:
            sent["Authorization"] = authorization
        bad = next((name for name, value in sent.items() if not _fits(name, value)), None)
        if bad is not None:
            raise BadUsage(f"the header {bad!r} can't be sent", "It holds a line break, or what no header can hold.")
        with self.reaching():
            timeout = patience or self._idle_timeout
            return self._ways(url).request(method, url, headers=sent, body=body, timeout=timeout)

    def _ways(self, url: str) -> Connections:
        if self.is_own(url):
            return self._connections
        place = urlsplit(url).netloc
        with self._asking:
            if place not in self._others:
                self._others[place] = self._elsewhere(url)
            return self._others[place]

    @contextlib.contextmanager
    def reaching(self) -> Iterator[None]:
        """Turn what breaks on the way into an error with advice.

        :raise ServerUnreachable: when a connection fails or breaks.
        """
        try:
            yield
        except BROKEN as error:
            raise ServerUnreachable(
                f"cannot talk to the server at {self.server}: {_reason(error)}",
                "Check that it runs and that --url (or CACHEW_URL) names it.",
            ) from error

    def is_own(self, url: str) -> bool:
        """Tell whether a URL is on this server."""
        return urlsplit(url)[:2] == urlsplit(self.server)[:2]

    def json(
        self,
        method: str,
        url: str,
        *,
        value: object = None,
        patience: float | None = None,
        expected: Collection[int] = (200,),
    ) -> Any:
        """Send a request and return its JSON answer.

        :param value: what is sent as JSON, None for no body.
        :param expected: statuses of answers that are no refusal.
        :raise ServerRefused: when the status is another one.
        """
        import json  # which those who only download need not wait for

        body = None if value is None else json.dumps(value).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        with contextlib.closing(self.request(method, url, headers=headers, body=body, patience=patience)) as answer:
            if answer.status not in expected:
                raise refusal(answer, url)
            try:
                return json.loads(answer.read(_JSON_LIMIT))
            except (ValueError, RecursionError, *BROKEN) as error:
                raise ClientError(f"{url} did not answer with JSON: {error}") from error


def _is_spent(body: Body | None) -> bool:
    """Say whether a body can be sent only once."""
    return body is not None and not isinstance(body, bytes)


def _fits(name: str, value: str) -> bool:
    """Say whether a header field can be sent (RFC 9110, section 5)."""
    plain = value.isprintable() or value.replace("\t", " ").isprintable()
    return bool(_FIELD_NAME.fullmatch(name)) and plain and all(ord(c) < 0x100 for c in value)


def refusal(answer: ServerResponse, url: str) -> ServerRefused:
    """Turn an answer that is not a success into an error, with the start of the server's own words."""
    try:
        text = answer.read(_ERROR_TEXT).decode("utf-8", "replace")
    except BROKEN:
        text = ""
    words = "".join(c for c in " ".join(text.split()) if c.isprintable())[:300]
    message = f"{url}: {answer.status} {answer.reason or ''}".rstrip() + (f": {words}" if words else "")
    if answer.status == 404:
        return NotCached(message, status=404, advice="Check the name; the server may also not admit it.")
    asked = said_wait(answer.headers)
    return ServerRefused(message, status=answer.status, advice=_advice(answer, words, asked), retry_after=asked)


def _advice(answer: ServerResponse, words: str, asked: "float | None") -> str:
    if "[[credentials]]" in words:
        return "Whoever runs the server has to give it a credential for this repository; until then clone with git."
    if answer.status == 403 and "the namespace" in words:
        return "Choose another namespace."
    if answer.status in (401, 403):
        return (
            "Give credentials that are allowed to read it: with a git credential helper or a netrc entry for the "
            "server's address, --authorization or CACHEW_AUTHORIZATION."
        )
    if answer.status == 422:
        return "`git clone --no-checkout` gets the repository without its files."
    if 300 <= answer.status < 400:
        return f"The server redirects to {answer.headers.get('Location', 'nowhere')}; use that address as --url."
    if answer.status in (429, 502, 503, 504):
        return f"Try again in {asked:.0f} seconds." if asked and asked >= 1 else "Try again in a moment."
    return ""


def _reason(error: Exception) -> str:
    return re.sub(r"^\[[^\]]*\] ", "", str(error)) or type(error).__name__
