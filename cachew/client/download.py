"""Downloads one object in order, over several connections where the server can serve ranges.

Ranges are pinned to one entity tag with ``If-Match``: all pieces are of one object or the download starts over. A
piece that breaks off is resumed where it broke. An object that the server is only just generating has no length and
no tag yet; it is read as one stream. Length and digest are checked at the end, so whoever consumes the pieces must
not use what was made of them before the iteration is over.
"""

import hashlib
import re
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

import urllib3
from urllib3.exceptions import HTTPError

from cachew.client.errors import DownloadCorrupt, ObjectChanged, ServerRefused, ServerUnreachable
from cachew.client.http import PIECE, Http, closing, refusal, unreachable
from cachew.client.progress import Progress

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_SHA256 = re.compile(r'"([0-9a-f]{64})"')
_RETRIED = frozenset({429, 500, 502, 503, 504})


class Download(Protocol):
    """An object on its way."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What the server says of it, complete when the first piece is there."""

    def pieces(self) -> Generator[bytes | bytearray, None, None]:
        """Yield the object in order.

        :raise ObjectChanged: when it has to be started over.
        :raise DownloadCorrupt: at the end, when length or digest are wrong.
        """

    def close(self) -> None:
        """Give up what is still on its way; may be called more than once."""


class Downloads:
    """Starts downloads.

    :param http: the server.
    :param progress: is told of every byte.
    :param pause: waits for a number of seconds before another try.
    :param connections: requests at a time.
    :param piece_size: bytes asked for in one request.
    :param attempts: failures in a row, without a byte between them, that end a piece.
    :param patience: seconds that the server may take to generate an object that it does not have yet.
    """

    def __init__(
        self,
        *,
        http: Http,
        progress: Progress,
        pause: Callable[[float], object],
        connections: int = 6,
        piece_size: int = 8 * 1024 * 1024,
        attempts: int = 4,
        patience: float = 3600.0,
    ) -> None:
        self.http = http
        self.progress = progress
        self.pause = pause
        self.connections = connections
        self.piece_size = piece_size
        self.attempts = attempts
        self.patience = patience

    def open(self, url: str) -> Download:
        """Ask for an object.

        :raise NotCached: when the server has none and makes none.
        :raise ServerRefused: when it refuses.
        :raise ServerUnreachable: when it does not answer.
        """
        known = self._persistently(lambda: self.http.request("HEAD", url))
        with closing(known):
            etag, size = known.headers.get("ETag", ""), known.headers.get("Content-Length", "")
            if known.status in (401, 403) or 300 <= known.status < 400:
                raise refusal(known, url)
        ranges = known.status == 200 and known.headers.get("Accept-Ranges") == "bytes"
        if ranges and etag.startswith('"') and size.isdigit() and int(size):
            return RangedDownload(self, url, etag=etag, size=int(size), headers=known.headers)
        response = self._persistently(lambda: self.http.request("GET", url, patience=self.patience))
        if response.status != 200:
            with closing(response):
                raise refusal(response, url)
        return StreamedDownload(self, response)

    def wait_after(self, failures: int) -> None:
        """Wait longer after every failure in a row."""
        self.pause(min(0.25 * 2**failures, 5.0))

    def _persistently(self, ask: Callable[[], urllib3.BaseHTTPResponse]) -> urllib3.BaseHTTPResponse:
        for failures in range(1, self.attempts):
            try:
                response = ask()
            except ServerUnreachable:
                self.wait_after(failures)
                continue
            if response.status not in _RETRIED:
                return response
            response.close()
            self.wait_after(failures)
        return ask()


class _Checked:
    """Counts and digests what passes, and compares it with what was announced."""

    def __init__(self, *, size: int | None, etag: str) -> None:
        self._size = size
        match = _SHA256.fullmatch(etag)
        self._expected = match[1] if match else None
        self._digest = hashlib.sha256()
        self._count = 0

    def update(self, piece: bytes | bytearray) -> None:
        self._count += len(piece)
        if self._expected:
            self._digest.update(piece)

    def verify(self) -> None:
        if self._size is not None and self._count != self._size:
            raise DownloadCorrupt(f"{self._count} bytes arrived instead of {self._size}", "Run the command again.")
        if self._expected and self._digest.hexdigest() != self._expected:
            raise DownloadCorrupt("what arrived has not the announced SHA-256", "Run the command again.")


class StreamedDownload:
    """An object that comes as one stream.

    :param downloads: its settings.
    :param response: the answer, unread.
    """

    def __init__(self, downloads: Downloads, response: urllib3.BaseHTTPResponse) -> None:
        self.headers: Mapping[str, str] = response.headers
        self._downloads = downloads
        self._response = response

    def pieces(self) -> Generator[bytes | bytearray, None, None]:
        """Yield the stream."""
        length = self.headers.get("Content-Length", "")
        size = int(length) if length.isdigit() else None
        checked = _Checked(size=size, etag=self.headers.get("ETag", ""))
        progress = self._downloads.progress
        progress.begin("Downloading", size)
        try:
            for piece in self._response.stream(PIECE, decode_content=False):
                checked.update(piece)
                progress.advance(len(piece))
                yield piece
        except HTTPError as error:
            reason = unreachable(self._downloads.http.server, error)
            raise ObjectChanged(f"the download broke off: {reason}", reason.advice) from error
        finally:
            progress.finish()
            self.close()
        checked.verify()

    def close(self) -> None:
        """Drop the connection unless the stream came to its end."""
        self._response.close()


class RangedDownload:
    """An object whose length and tag are known, fetched in pieces by several threads.

    No more than two pieces beyond those on their way are kept in memory.

    :param downloads: its settings.
    :param etag: the tag that every piece must have, with its quotes.
    :param size: bytes.
    """

    def __init__(self, downloads: Downloads, url: str, *, etag: str, size: int, headers: Mapping[str, str]) -> None:
        self.headers = urllib3.HTTPHeaderDict(headers)
        self._downloads = downloads
        self._url = url
        self._etag = etag
        self._size = size
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._responses: set[urllib3.BaseHTTPResponse] = set()

    def pieces(self) -> Generator[bytes | bytearray, None, None]:
        """Yield the pieces in order while later ones are on their way."""
        checked = _Checked(size=self._size, etag=self._etag)
        step = self._downloads.piece_size
        starts = iter(range(0, self._size, step))
        pending: deque[Future[bytearray]] = deque()
        self._downloads.progress.begin("Downloading", self._size)
        pool = ThreadPoolExecutor(self._downloads.connections, "download")
        try:
            while True:
                while len(pending) < self._downloads.connections + 2 and (start := next(starts, None)) is not None:
                    pending.append(pool.submit(self._fetch, start, min(start + step, self._size)))
                if not pending:
                    break
                piece = pending.popleft().result()
                checked.update(piece)
                yield piece
        finally:
            self.close()
            # Not waited for: a request that gets no answer would hold up the user who interrupted.
            pool.shutdown(wait=False, cancel_futures=True)
            self._downloads.progress.finish()
        checked.verify()

    def close(self) -> None:
        """Break off every request."""
        self._stopped.set()
        with self._lock:
            for response in self._responses:
                # Wakes the thread that reads; closing alone would leave it waiting for its time-out.
                # Its thread may just have closed it.
                with suppress(OSError, RuntimeError, ValueError):
                    response.shutdown()

    def _fetch(self, start: int, end: int) -> bytearray:
        data = bytearray()
        failures = 0
        while True:
            before = len(data)
            try:
                self._read(data, start + before, end)
                return data
            except (ServerUnreachable, ServerRefused) as error:
                failures = failures + 1 if len(data) == before else 1
                final = isinstance(error, ServerRefused) and error.status not in _RETRIED
                if final or self._stopped.is_set() or failures >= self._downloads.attempts:
                    raise
            self._downloads.wait_after(failures)

    def _read(self, data: bytearray, start: int, end: int) -> None:
        headers = {"Range": f"bytes={start}-{end - 1}", "If-Match": self._etag}
        response = self._downloads.http.request("GET", self._url, headers=headers)
        with closing(response):
            self._check(response, start, end)
            if not start:
                self._adopt(response.headers)
            with self._lock:
                self._responses.add(response)
            try:
                for piece in response.stream(PIECE, decode_content=False):
                    data += piece
                    self._downloads.progress.advance(len(piece))
                    if self._stopped.is_set():
                        raise ObjectChanged("the download was given up")
            except HTTPError as error:
                raise unreachable(self._downloads.http.server, error) from error
            finally:
                with self._lock:
                    self._responses.discard(response)

    def _adopt(self, headers: Mapping[str, str]) -> None:
        # What comes with the content is newer than what came with HEAD, and not every server says all there.
        for name, value in headers.items():
            if name.lower().startswith("x-cachew-"):
                self.headers[name] = value

    def _check(self, response: urllib3.BaseHTTPResponse, start: int, end: int) -> None:
        if response.status == 206:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            right = match is not None and tuple(map(int, match.groups())) == (start, end - 1, self._size)
            if right and response.headers.get("ETag", self._etag) == self._etag:
                return
        if response.status in (200, 206, 404, 412, 416):
            raise ObjectChanged("the object changed on the server during the download", "Run the command again.")
        raise refusal(response, self._url)
