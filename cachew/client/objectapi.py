"""The object API: get, put, stat, delete, namespaces, stats."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any, BinaryIO

from cachew.client.clienterrors import ClientError
from cachew.client.http import Http, refusal
from cachew.client.keys import check_namespace, digest

_TRANSPORT = frozenset(
    {
        "date",
        "accept-encoding",
        "user-agent",
        "transfer-encoding",
        "time-to-live",
        "connection",
        "server",
        "keep-alive",
        "content-security-policy",
        "referrer-policy",
        "strict-transport-security",
        "x-content-type-options",
        "x-request-id",
    }
)


class Objects:
    """The objects of a server.

    :param http: the server.
    :param patience: seconds that it may take to store an object once it has all of it.
    """

    def __init__(self, *, http: Http, patience: float = 600.0) -> None:
        self._http = http
        self._patience = patience

    def url(self, namespace: str, key: str) -> str:
        """Return the URL of an object.

        :raise BadUsage: when the namespace is malformed.
        """
        return f"{self._http.server}/api/v1/object/{check_namespace(namespace)}/{digest(key)}"

    def stat(self, namespace: str, key: str) -> Mapping[str, str]:
        """Return the headers of an object.

        :raise NotCached: when there is none.
        """
        return self._headers("HEAD", self.url(namespace, key))

    def put(
        self,
        namespace: str,
        key: str,
        body: Iterable[bytes] | BinaryIO,
        *,
        headers: Mapping[str, str],
        ttl: str | None = None,
    ) -> None:
        """Store an object; when ``body`` raises, nothing is stored.

        :param headers: are stored with it.
        :param ttl: how long it is kept, in Go's form; None for the server's choice.
        """
        sent = {**headers, **({"Time-To-Live": ttl} if ttl else {})}
        self._headers("POST", self.url(namespace, key), sent, body)

    def delete(self, namespace: str, key: str) -> None:
        """Delete an object.

        :raise NotCached: when there is none.
        """
        self._headers("DELETE", self.url(namespace, key))

    def namespaces(self) -> list[str]:
        """Return the names of all namespaces."""
        answer = self._http.json("GET", f"{self._http.server}/api/v1/namespaces")
        if answer is not None and not isinstance(answer, list):
            raise ClientError("the server's answer is not a list of namespaces")
        return [str(name) for name in answer or []]

    def stats(self) -> dict[str, Any]:
        """Return the numbers of objects and bytes."""
        answer = self._http.json("GET", f"{self._http.server}/api/v1/stats")
        if not isinstance(answer, dict):
            raise ClientError("the server's answer holds no numbers")
        return answer

    def _headers(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: Any = None
    ) -> Mapping[str, str]:
        answer = self._http.request(method, url, headers=headers, body=body, patience=self._patience)
        with closing(answer):
            if not 200 <= answer.status < 300:
                raise refusal(answer, url)
            return visible_headers(answer.headers)


def visible_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that belong to the object and not to its transport."""
    return {name: value for name, value in headers.items() if name.lower() not in _TRANSPORT}
