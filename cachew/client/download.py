"""Asks for an object: what can be had in ranges comes over several connections, anything else as one stream.

An object that the server is only just generating has no length and no tag yet. Length and digest are checked at the
end, so whoever consumes the pieces must not use what was made of them before the iteration is over.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from typing import Protocol

from cachew.client.clienterrors import ClientError, ObjectChanged, ServerUnreachable
from cachew.client.connections import ServerResponse
from cachew.client.http import Http, refusal
from cachew.client.integrity import Integrity
from cachew.client.location import WANTED_HEADER
from cachew.client.ranges import RangedDownload
from cachew.client.retries import RETRIED, Retries, said_wait
from cachew.client.transferprogress import TransferProgress
from cachew.client.workers import Job, Workers

_FROM_HERE = {WANTED_HEADER: "no"}


class Download(Protocol):
    """An object on its way."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What the server says of it, complete when the first piece is there."""

    def pieces(self) -> Generator[bytes | memoryview, None, None]:
        """Yield the object in order; a piece is good until the next one is asked for.

        :raise ObjectChanged: when it has to be started over.
        :raise DownloadCorrupt: at the end, when length or digest are wrong.
        """

    def close(self) -> None:
        """Give up what is still on its way; may be called more than once."""


class Downloads:
    """Starts downloads.

    :param http: the server.
    :param progress: is told of every byte.
    :param retries: when a request that failed is sent again.
    :param connections: requests at a time.
    :param piece_size: bytes asked for in one request.
    :param patience: seconds that the server may take to generate an object that it does not have yet.
    """

    def __init__(
        self,
        *,
        http: Http,
        progress: TransferProgress,
        retries: Retries,
        connections: int = 6,
        piece_size: int = 4 * 1024 * 1024,
        patience: float = 3600.0,
    ) -> None:
        self.http = http
        self.progress = progress
        self.retries = retries
        self.connections = connections
        self.piece_size = piece_size
        self.patience = patience
        self.follows, self.came_from_store = True, False
        self.takes_parts = True
        self._ahead: dict[str, tuple[Workers, Job[Download]]] = {}

    def leave_store(self) -> bool:
        """Follow the server to its store no longer, and say whether something came from there."""
        self.follows = False
        came, self.came_from_store = self.came_from_store, False
        return came

    def open(self, url: str) -> Download:
        """Ask for an object.

        :raise NotCached: when the server has none and makes none.
        :raise ServerRefused: when it refuses.
        :raise ServerUnreachable: when it does not answer.
        """
        if url not in self._ahead:
            return self._opened(url)
        workers, opening = self._ahead.pop(url)
        with closing(workers):
            return opening.result()

    def open_ahead(self, url: str) -> None:
        """Begin to ask for an archive that will be opened, and read whole, when something else has been done."""
        workers = Workers(1, "open")
        with suppress(ClientError):
            self._ahead[url] = workers, workers.submit(self._opened_ahead, url)

    def _opened_ahead(self, url: str) -> Download:
        download = self._opened(url)
        if isinstance(download, RangedDownload):
            download.ask_ahead()
        return download

    def _opened(self, url: str) -> Download:
        known = self._persistently(lambda: self.http.request("HEAD", url))
        with closing(known):
            etag, size = known.headers.get("ETag", ""), known.headers.get("Content-Length", "")
            unwelcome = known.status in RETRIED and said_wait(known.headers) is not None
            if unwelcome or known.status in (401, 403) or 300 <= known.status < 400:
                raise refusal(known, url)
        ranges = self.takes_parts and known.status == 200 and known.headers.get("Accept-Ranges") == "bytes"
        if ranges and etag.startswith('"') and is_number(size) and int(size):
            return RangedDownload(self, url, etag=etag, size=int(size), headers=known.headers)
        response = self._persistently(lambda: self.http.request("GET", url, headers=_FROM_HERE, patience=self.patience))
        if response.status != 200:
            with closing(response):
                raise refusal(response, url)
        return StreamedDownload(self, response)

    def _persistently(self, ask: Callable[[], ServerResponse]) -> ServerResponse:
        failures = 0
        while True:
            failures, asked = failures + 1, None
            try:
                response = ask()
            except ServerUnreachable:
                if not self.retries.allow(failures):
                    raise
            else:
                asked = said_wait(response.headers)
                if response.status not in RETRIED or not self.retries.allow(failures, asked):
                    return response
                response.close()
            self.retries.wait(failures, asked)


def is_number(text: str) -> bool:
    """Say whether a header's value is one; ``isdigit`` takes more for digits than ``int`` does."""
    return text.isascii() and text.isdigit() and len(text) < 20


class StreamedDownload:
    """An object that comes as one stream.

    :param downloads: its settings.
    :param answer: what the server answered, unread.
    """

    def __init__(self, downloads: Downloads, answer: ServerResponse) -> None:
        self.headers: Mapping[str, str] = answer.headers
        self._downloads = downloads
        self._answer = answer

    def pieces(self) -> Generator[bytes | memoryview, None, None]:
        """Yield the stream."""
        length = self.headers.get("Content-Length", "")
        size = int(length) if is_number(length) else None
        integrity = Integrity(size=size, etag=self.headers.get("ETag", ""))
        progress = self._downloads.progress
        progress.begin("Downloading", size)
        try:
            for piece in self._received():
                integrity.add(piece)
                progress.advance(len(piece))
                yield piece
            integrity.verify()
        finally:
            integrity.close()
            progress.finish()
            self.close()

    def _received(self) -> Iterator[bytes]:
        try:
            with self._downloads.http.reaching():
                yield from self._answer.stream()
        except ServerUnreachable as error:
            raise ObjectChanged(f"the download broke off: {error}", error.advice) from error

    def close(self) -> None:
        """Drop the connection unless the stream came to its end."""
        self._answer.close()
