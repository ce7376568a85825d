"""Where the content of one object is fetched: at the server, or in its store, when it redirects there.

Access is checked by the server, which names an address that is good for a while; it is used for all that is fetched of
the object until the store refuses it. Nothing but a range goes there: no credential, no condition, since the store
calls its content otherwise. Whatever is wrong with the store, the server itself is asked for the bytes.
"""

import re
import threading
from urllib.parse import urlsplit

from cachew.client.clienterrors import BadUsage, ServerUnreachable
from cachew.client.connections import Headers, ServerResponse
from cachew.client.http import Http

WANTED_HEADER = "X-Cachew-Redirect"
"""Tells a server that we follow redirects, and how many bytes we are going to fetch there."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_MOST_FAILURES = 2


class Location:
    """Fetches ranges of one object; threads share it.

    :param http: the server, and the way elsewhere.
    :param url: the object's.
    :param etag: the tag that it must have, with its quotes.
    :param size: its bytes.
    :param follows: whether it may come from elsewhere.
    """

    def __init__(self, http: Http, url: str, *, etag: str, size: int, follows: bool) -> None:
        self._http = http
        self._url, self._etag, self._size = url, etag, size
        self._may_follow, self._follows = follows, False
        self._lock = threading.Lock()
        self._address: str | None = None
        self._store_tag: str | None = None
        self._unclaimed = self._failures = 0
        self.said: Headers | None = None
        """What the server said when it redirected."""
        self.was_elsewhere = False

    def expect(self, count: int) -> None:
        """Note how many bytes will be fetched from now on; what is fetched before is too little to go elsewhere."""
        self._unclaimed, self._follows = count, self._may_follow

    def get(self, start: int, end: int) -> "tuple[ServerResponse, bool]":
        """Ask for a range.

        :return: the answer, and whether it is known to be the one that was asked for: a store's always is.
        :raise ServerUnreachable: when the server does not answer.
        """
        address = self._address
        if address is not None:
            found = self._from_store(address, start, end)
            if found is not None:
                return found, True
            with self._lock:
                self._address = None if self._address == address else self._address
        answer = self._ask(start, end, redirect=self._follows)
        if answer.status != 307:
            return answer, False
        answer.close()
        self.said = answer.headers
        address = answer.headers.get("Location", "")
        found = self._from_store(address, start, end) if self._is_good(address) else None
        if found is not None:
            self._address = address
            return found, True
        self._follows = False
        return self._ask(start, end, redirect=False), False

    def tell_broken(self) -> None:
        """Note that an answer broke off; a store whose answers do so again and again is left."""
        with self._lock:
            if self._address is not None:
                self._address = None
                self._failures += 1
                self._follows = self._follows and self._failures < _MOST_FAILURES

    def is_right(self, answer: ServerResponse, start: int, end: int) -> bool:
        """Tell whether an answer is the range that was asked for, of an object of this size."""
        if answer.status == 200:  # as a server may answer where the range is all (RFC 9110, section 14.2)
            return (start, end, answer.headers.get("Content-Length")) == (0, self._size, str(self._size))
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        right = match is not None and tuple(map(int, match.groups())) == (start, end - 1, self._size)
        return answer.status == 206 and right

    def _ask(self, start: int, end: int, *, redirect: bool) -> ServerResponse:
        headers = {"Range": f"bytes={start}-{end - 1}", "If-Match": self._etag}
        if redirect:
            with self._lock:
                headers[WANTED_HEADER] = str(self._unclaimed)
                self._unclaimed = 0
        return self._http.request("GET", self._url, headers=headers)

    def _from_store(self, address: str, start: int, end: int) -> "ServerResponse | None":
        try:
            answer = self._http.request("GET", address, headers={"Range": f"bytes={start}-{end - 1}"})
        except (ServerUnreachable, BadUsage):
            return None
        tag = answer.headers.get("ETag")
        if self.is_right(answer, start, end) and self._store_tag in (None, tag):
            self._store_tag = tag
            self.was_elsewhere = True
            return answer
        answer.close()
        return None

    def _is_good(self, address: str) -> bool:
        """Tell whether an address may be followed: not to where credentials go, nor out of TLS."""
        try:
            parts = urlsplit(address)
        except ValueError:
            return False
        safe = parts.scheme == "https" or (parts.scheme, urlsplit(self._url).scheme) == ("http", "http")
        return safe and bool(parts.hostname) and "@" not in parts.netloc and not self._http.is_own(address)
