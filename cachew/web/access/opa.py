"""Asks an Open Policy Agent whether a request is to be served, besides what the server's own rules say.

The input has the names that the original server gave its policies: ``method``, ``path`` (a list), ``headers`` (names in
lower case) and ``remote_addr``; and ``address``, the client's as far as listed proxies tell it. Credentials stay here.
A decision that does not come in time, or is anything but a plain yes, is a no. Decisions are not kept: the agent is
meant to run beside the server, and a policy that changes shall hold at once.
"""

import json
from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.config.rules import Asked
from cachew.plumbing.errors import Busy, Forbidden

_WITHHELD = ("authorization", "cookie", "proxy-authorization", "x-cachew-grant")
_LONGEST_ANSWER = 64 * 1024


class ExternalDecision:
    """The agent.

    :param url: the decision's address, e.g. ``http://127.0.0.1:8181/v1/data/cachew/authz/allow``.
    :param http: a treq client, which asks it.
    :param reactor: bounds the wait.
    :param timeout: seconds that a decision may take.
    :param withheld: returns the lower-case names of headers that are credentials somewhere.
    """

    log = Logger()

    def __init__(
        self,
        *,
        url: str,
        http: Any,
        reactor: IReactorTime,
        timeout: float,
        withheld: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        self._withheld = withheld
        self._url = url
        self._http = http
        self._reactor = reactor
        self._timeout = timeout

    async def require(self, asked: Asked, peer: str) -> None:
        """Let a request pass that the agent allows.

        :param peer: address and port of the connection, as ``127.0.0.1:4711``.
        :raise Forbidden: when it does not.
        :raise Busy: when it does not say anything that can be understood.
        """
        work = Deferred.fromCoroutine(self._ask(_input(asked, peer, {*_WITHHELD, *self._withheld()})))
        try:
            allowed = await work.addTimeout(self._timeout, self._reactor)
        except CancelledError:
            raise
        except (DeferredTimeout, Exception) as error:
            self.log.error("the policy server gives no decision: {error}", error=error or type(error).__name__)
            raise Busy("the policy server gives no decision") from None
        if not allowed:
            raise Forbidden("the policy of this server forbids this")

    async def _ask(self, document: dict[str, object]) -> bool:
        body = json.dumps({"input": document}).encode()
        response = await self._http.post(self._url, data=body, headers={"Content-Type": "application/json"})
        content = await response.content()
        if response.code != 200 or len(content) > _LONGEST_ANSWER:
            raise ValueError(f"it answered {response.code} and {len(content)} bytes")
        result = json.loads(content).get("result", False)
        return (result.get("allow") if isinstance(result, dict) else result) is True


def _input(asked: Asked, peer: str, withheld: Collection[str]) -> dict[str, object]:
    return {
        "method": asked.method,
        "path": [segment for segment in asked.path.split("/") if segment],
        "headers": {name: value for name, value in asked.headers.items() if name not in withheld},
        "remote_addr": peer,
        "address": None if asked.address is None else str(asked.address),
    }
