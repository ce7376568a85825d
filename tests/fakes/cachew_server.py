"""A cachew server for the client's tests: the wire behaviour of the contract, and faults at a test's command."""

import hashlib
import json
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Stored:
    """An object of the server.

    :param body: its content.
    :param etag: its tag without quotes; None for the SHA-256 of the content.
    :param late_headers: those that come with the content and not with HEAD.
    :param generating: answer as while it is made for the first time: no HEAD, no length, no tag, no ranges.
    :param cuts: one for each of the next GETs: the bytes after which the connection breaks, None for no break.
    :param statuses: one for each of the next GETs: a status to answer instead, None for the usual.
    :param short: one for each of the next partial answers: how many bytes it has, in order, whatever it says.
    :param is_sent_whole: answer what is asked for all bytes as if no range had been named (RFC 9110, section 14.2).
    :param ignores_ranges: send all whatever range is asked for, as a proxy on the way may.
    :param elsewhere: where clients are redirected that say that they follow.
    :param before: called before each GET is answered, with the number of GETs so far.
    :param after: called after each GET with the number of GETs so far.
    """

    body: bytes
    etag: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    late_headers: dict[str, str] = field(default_factory=dict)
    generating: bool = False
    cuts: list[int | None] = field(default_factory=list)
    statuses: list[int | None] = field(default_factory=list)
    short: list[int] = field(default_factory=list)
    is_sent_whole: bool = False
    ignores_ranges: bool = False
    elsewhere: str = ""
    before: Callable[[int], object] = lambda _: None
    after: Callable[[int], object] = lambda _: None
    gets: int = 0

    @property
    def tag(self) -> str:
        """The tag with its quotes."""
        return f'"{self.etag or _digest(self.body)}"'


@lru_cache(maxsize=16)
def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@dataclass
class Seen:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class CachewServer:
    """The server's state.

    :param objects: by path.
    :param answers: JSON answers of POSTs by path: ``(status, value)``; bytes are sent as they are.
    :param refusals: by path, what the next requests are answered instead, of whatever method: ``(status, headers)``.
    :param required: the only ``Authorization`` that is let in; empty when none is needed.
    :param repositories: bare repositories for git, by the path before ``/info/refs`` or ``/git-upload-pack``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.objects: dict[str, Stored] = {}
        self.answers: dict[str, tuple[int, Any]] = {}
        self.refusals: dict[str, list[tuple[int, dict[str, str]]]] = {}
        self.repositories: dict[str, str] = {}
        self.seen: list[Seen] = []
        self.required = ""
        self.absent = b"nothing here\n"
        self.lock = threading.Lock()

    def requests(self, method: str) -> list[Seen]:
        """Return the requests of one method."""
        return [seen for seen in self.seen if seen.method == method]


@contextmanager
def running_server() -> Iterator[CachewServer]:
    """Run a server on loopback."""

    class Bound(_Handler):
        state: CachewServer

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    Bound.state = CachewServer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield Bound.state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: CachewServer

    def log_message(self, *_: object) -> None:
        """Stay quiet."""

    def handle(self) -> None:
        """Handle a connection until the client is gone, however it goes."""
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def do_HEAD(self) -> None:
        """Answer from metadata; 404 while an object is being generated."""
        self._see(b"")
        if self._refused():
            return None
        stored = self.state.objects.get(self.path)
        if stored is None or stored.generating:
            return self._answer(404)
        return self._answer(200, {"Content-Length": str(len(stored.body)), **self._object_headers(stored)})

    def do_GET(self) -> None:
        """Send an object, or a part of it."""
        self._see(b"")
        if self._refused() or self._git(b"") or self._json():
            return
        stored = self.state.objects.get(self.path)
        if stored is None:
            self._answer(404, body=self.state.absent)
            return
        with self.state.lock:
            stored.gets += 1
            count = stored.gets
            cut = stored.cuts.pop(0) if stored.cuts else None
            status = stored.statuses.pop(0) if stored.statuses else None
        stored.before(count)
        self._get(stored, cut, status)
        stored.after(count)

    def do_POST(self) -> None:
        """Answer ensure-refs and git, and take uploads."""
        try:
            body = self._body()
        except ConnectionError:
            self.close_connection = True
            return
        self._see(body)
        if self._refused() or self._git(body) or self._json():
            return
        self.state.objects[self.path] = Stored(body)
        self._answer(200)

    def do_DELETE(self) -> None:
        """Delete an object."""
        self._see(b"")
        self._answer(200 if self.state.objects.pop(self.path, None) else 404)

    def _get(self, stored: Stored, cut: int | None, status: int | None) -> None:
        match = self.headers.get("If-Match")
        if status is not None:
            self._answer(status, body=b"not now\n")
        elif stored.generating:
            self._chunked(stored, cut)
        elif match is not None and match != stored.tag:
            self._answer(412)
        elif stored.elsewhere and self.headers.get("X-Cachew-Redirect", "").isdigit():
            self._answer(307, {"Location": stored.elsewhere, "ETag": stored.tag, **stored.late_headers})
        else:
            self._ranged(stored, cut)

    def _ranged(self, stored: Stored, cut: int | None) -> None:
        size = len(stored.body)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        headers = self._object_headers(stored) | stored.late_headers
        if (
            asked is None
            or stored.ignores_ranges
            or (stored.is_sent_whole and int(asked[1]) == 0 and asked[2] in ("", str(size - 1)))
        ):
            self._answer(200, headers, stored.body, cut)
        elif int(asked[1]) >= size:
            self._answer(416, {"Content-Range": f"bytes */{size}"})
        else:
            start, end = int(asked[1]), min(int(asked[2] or size), size - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{size}"
            body = stored.body[start : end + 1]
            if stored.short:
                body = body[: stored.short.pop(0)]
            self._answer(206, headers, body, cut)

    def _chunked(self, stored: Stored, cut: int | None) -> None:
        self.send_response(200)
        for name, value in {"Transfer-Encoding": "chunked", **stored.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        step = 100_000
        body = stored.body if cut is None else stored.body[:cut]
        for start in range(0, len(body), step):
            piece = body[start : start + step]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if cut is not None:
            return self._break()
        self.wfile.write(b"0\r\n\r\n")
        return None

    def _object_headers(self, stored: Stored) -> dict[str, str]:
        return {"ETag": stored.tag, "Accept-Ranges": "bytes", **stored.headers}

    def _answer(
        self, status: int, headers: dict[str, str] | None = None, body: bytes = b"", cut: int | None = None
    ) -> None:
        (self.send_response_only if "Date" in (headers or {}) else self.send_response)(status)
        sent = {"Content-Length": str(len(body)), **(headers or {})} if status != 204 else dict(headers or {})
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":  # a body would be taken for the next answer (RFC 9110, section 9.3.2)
            return
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None and cut < len(body):
            self._break()

    def _break(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces: list[bytes] = []
        while True:
            line = self.rfile.readline()
            if not line:
                raise ConnectionError("the upload broke off")
            piece = self.rfile.read(int(line, 16) + 2)[:-2]
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)

    def _see(self, body: bytes) -> None:
        with self.state.lock:
            self.state.seen.append(Seen(self.command, self.path, dict(self.headers), body))

    def _refused(self) -> bool:
        if refusals := self.state.refusals.get(self.path):
            self._answer(*refusals.pop(0))
            return True
        if not self.state.required or self.headers.get("Authorization") == self.state.required:
            return False
        said = self.headers.get("Authorization", "nothing")
        self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'}, f"not {said}\n".encode())
        return True

    def _json(self) -> bool:
        if self.path not in self.state.answers:
            return False
        status, value = self.state.answers[self.path]
        body = value if isinstance(value, bytes) else json.dumps(value).encode() if value else b""
        self._answer(status, {"Content-Type": "application/json"}, body)
        return True

    def _git(self, body: bytes) -> bool:
        path, _, query = self.path.partition("?")
        repository, _, operation = path.partition("/info/refs")
        if operation or repository == path:
            repository = path.removesuffix("/git-upload-pack")
        directory = self.state.repositories.get(repository)
        if directory is None or repository == path:
            return False
        environment = {
            "GIT_PROJECT_ROOT": directory,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path.removeprefix(repository),
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "CONTENT_LENGTH": str(len(body)),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "uploadpack.allowAnySHA1InWant",
            "GIT_CONFIG_VALUE_0": "true",
            "PATH": "/usr/bin:/bin",
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self._answer(int(headers.pop("Status", "200").split()[0]), headers, content)
        return True
