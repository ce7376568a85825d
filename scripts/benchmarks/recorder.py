"""Records what git asks for: a proxy on loopback between a real git and a server."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from scripts.benchmarks.exchange import Exchange, recorded

_PIECE = 256 * 1024


class Recorder:
    """A context in which a proxy listens.

    :param port: of the server on loopback.
    :param base: the repository's path on the server.
    :ivar exchanges: what has been asked for, in order.
    """

    def __init__(self, port: int, base: str) -> None:
        self.exchanges: list[Exchange] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(port, base, self.exchanges))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The repository's address for git."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/repository"

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(port: int, base: str, exchanges: list[Exchange]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            self._pass()

        def do_POST(self) -> None:
            self._pass()

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _pass(self) -> None:
            path = self.path.removeprefix("/repository")
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = list(self.headers.items())
            exchanges.append(recorded(self.command, path, headers, body))
            upstream = http.client.HTTPConnection("127.0.0.1", port)
            upstream.request(self.command, base + path, body, dict(headers))
            answer = upstream.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                    self.send_header(name, value)
            self.end_headers()
            while piece := answer.read(_PIECE):
                self.wfile.write(piece)
            upstream.close()

    return Handler
