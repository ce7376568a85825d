"""Whom the test upstream lets read and write which repository."""

import base64
from collections import defaultdict

from tests.functional.canary import marked
from tests.functional.exchanges import Exchange


def basic(user: str, password: str) -> str:
    """Return the ``Authorization`` header of a user, whose password is marked by the canary."""
    return "Basic " + base64.b64encode(f"{user}:{marked(password)}".encode()).decode()


class Gate:
    """Public repositories are for everyone, others for the credentials they are opened to; pushes need some."""

    def __init__(self) -> None:
        self._readers: dict[str, set[str]] = {}
        self._writers: defaultdict[str, set[str]] = defaultdict(set)
        self._unknown: dict[str, int] = {}

    def protect(self, repository: str, *authorizations: str, unknown: int = 401) -> None:
        """Make a repository private.

        :param repository: its name without ``.git``.
        :param authorizations: the ``Authorization`` headers that may read it.
        :param unknown: the status for other credentials; no credentials at all are always answered 401.
        """
        self._readers[repository] = set(authorizations)
        self._unknown[repository] = unknown

    def publish(self, repository: str) -> None:
        """Make a repository public."""
        self._readers.pop(repository, None)

    def allow_push(self, repository: str, *authorizations: str) -> None:
        """Let credentials push to a repository."""
        self._writers[repository].update(authorizations)

    def may_push(self, exchange: Exchange) -> bool:
        """Say whether a request's credentials may push."""
        return exchange.headers.get("authorization", "") in self._writers[exchange.repository]

    def refusal(self, exchange: Exchange) -> int | None:
        """Return the status with which a request is refused, None when it is let in."""
        shown = exchange.headers.get("authorization")
        if exchange.kind in ("push", "push-refs"):
            if self.may_push(exchange):
                return None
            return 401 if shown is None else 403
        readers = self._readers.get(exchange.repository)
        if readers is None or shown in readers | self._writers[exchange.repository]:
            return None
        return 401 if shown is None else self._unknown[exchange.repository]
