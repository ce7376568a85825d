"""An object store on loopback that speaks as much of S3 as cachew asks for, and differs from Amazon's when told so."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from cachew.plumbing.s3store import s3_store


@dataclass(frozen=True)
class Asked:
    """A request that has come.

    :param command: its method.
    :param headers: its headers.
    :param key: the object that it is about, empty when it is about the bucket.
    :param query: what it says behind its path.
    """

    command: str
    headers: Message
    key: str
    query: Mapping[str, str]


Answer = tuple[int, bytes, Mapping[str, str]]
Quirk = Callable[[Asked], Answer | None]
"""Gives another answer than Amazon's, None for the same."""


def refusal(status: int, code: str, message: str = "because it is so") -> Answer:
    """Return an answer as stores word it, over two lines."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return status, text.encode(), {"Content-Type": "application/xml"}


def tag_of(data: bytes) -> str:
    """Return an object's entity tag."""
    return f'"{hashlib.md5(data).hexdigest()}"'


class HostileStore:
    """The store.

    :ivar objects: what is in its one bucket.
    :ivar quirk: how it differs.
    :ivar asked: the requests that have come: method, path with query, headers.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.quirk: Quirk = lambda asked: None
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []
        self.url = ""

    def store(self, **settings: Any) -> Any:
        """Return the store as cachew knows it; nothing is tried twice."""
        terms: dict[str, Any] = {
            "access_key": "key",
            "secret_key": "secret",
            "retries": 0,
            "timeout": 5.0,
            "endpoint": self.url,
        }
        return s3_store(bucket="bucket", **terms | settings)

    def answer(self, asked: Asked, data: bytes) -> Answer:
        """Answer as Amazon's does."""
        if (other := self.quirk(asked)) is not None:
            return other
        present = self.objects.get(asked.key)
        if asked.command == "GET" and not asked.key:
            return 200, self._listing(asked.query.get("prefix", "")), {}
        if asked.command == "DELETE":
            self.objects.pop(asked.key, None)
            return 204, b"", {}
        if asked.command == "PUT":
            return self._put(asked, data, present)
        return refusal(404, "NoSuchKey") if present is None else _read(asked, present)

    def _put(self, asked: Asked, data: bytes, present: bytes | None) -> Answer:
        wanted = asked.headers.get("If-Match")
        created = asked.headers.get("If-None-Match") == "*" and present is not None
        if created or (wanted is not None and (present is None or tag_of(present) != wanted)):
            return refusal(412, "PreconditionFailed")
        self.objects[asked.key] = data
        return 200, b"", {"ETag": tag_of(data)}

    def _listing(self, prefix: str) -> bytes:
        objects = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(tag_of(data))}</ETag><Size>{len(data)}</Size></Contents>"
            for key, data in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{objects}</ListBucketResult>".encode()


def _read(asked: Asked, data: bytes) -> Answer:
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("Range", ""))
    if found is None:
        return 200, data, {"ETag": tag_of(data)}
    start, end = int(found[1]), min(int(found[2]) + 1, len(data))
    if start >= len(data):
        return refusal(416, "InvalidRange")
    return 206, data[start:end], {"ETag": tag_of(data), "Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}


@contextmanager
def hostile_store() -> Iterator[HostileStore]:
    """Run one."""
    store = HostileStore()

    class Request(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # heads and bodies leave together

        def _any(self) -> None:
            url = urlsplit(self.path)
            key = unquote(url.path.removeprefix("/").partition("/")[2])
            query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            store.asked.append((self.command, self.path, dict(self.headers)))
            status, body, headers = store.answer(Asked(self.command, self.headers, key, query), data)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Request) as server:
        store.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield store
        server.shutdown()
        thread.join()
