"""Questions to a forge's API that are answered in JSON, each with a time limit and a bound on the answer."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from cachew.plumbing.errors import TooLarge, UpstreamRefused, UpstreamTimeout, UpstreamUnreachable
from cachew.plumbing.streams import read_all
from cachew.upstream.connectionfailures import explain
from cachew.upstream.listing import printable
from cachew.upstream.responsebodies import response_source


class JsonApi:
    """One API.

    :param url: its base URL, without a trailing slash.
    :param http: a treq client or :mod:`treq` itself.
    :param reactor: ends what takes too long.
    :param timeout: seconds that one question may take.
    :param limit: the largest answer, in bytes.
    """

    def __init__(self, *, url: str, http: Any, reactor: IReactorTime, timeout: float, limit: int) -> None:
        self.url = url
        self._http = http
        self._reactor = reactor
        self._timeout = timeout
        self._limit = limit

    async def ask(self, method: str, path: str, headers: Mapping[str, str]) -> Any:
        """Return the answer to a question; redirects are not followed.

        :param path: what comes after the base URL.
        :raise UpstreamRefused: when the status is not 200 or 201; see :func:`reason_in`.
        :raise UpstreamError: when there is no answer, or one that is no JSON.
        """
        asking = Deferred.fromCoroutine(self._exchange(method, self.url + path, headers))

        def too_slow(*_: object) -> NoReturn:
            raise UpstreamTimeout(self.url, f"did not answer within {self._timeout:.0f} seconds")

        return await asking.addTimeout(self._timeout, self._reactor, too_slow)

    async def _exchange(self, method: str, url: str, headers: Mapping[str, str]) -> Any:
        try:
            response = await self._http.request(method, url, headers=headers, unbuffered=True, allow_redirects=False)
        except Exception as failure:
            raise explain(self.url, failure) from failure
        source = response_source(response, upstream=self.url, reactor=self._reactor, idle=self._timeout)
        try:
            body = await read_all(source, self._limit)
        except TooLarge as failure:
            raise UpstreamUnreachable(self.url, f"its {failure}") from None
        if response.code not in (200, 201):
            raise UpstreamRefused(self.url, status=response.code, body=body)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise UpstreamUnreachable(self.url, "its answer is not JSON") from None


def reason_in(refusal: UpstreamRefused) -> str:
    """Return how an API explains a refusal, empty when it doesn't: forges have a ``message`` in their JSON."""
    try:
        said = json.loads(refusal.body)
    except (ValueError, RecursionError):
        return ""
    message = said.get("message") if isinstance(said, dict) else None
    return printable(message.encode("utf-8", "replace")) if isinstance(message, str) else ""
