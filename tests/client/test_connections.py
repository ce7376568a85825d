"""HTTP connections: kept alive, through proxies, broken off."""

import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from cachew.client.clienterrors import ServerUnreachable
from cachew.client.connections import BROKEN, Connections, Headers
from cachew.client.http import Http
from tests.functional.certificates import Authority

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Listener:
    """Answers requests with given bytes: one list for each connection that comes."""

    def __init__(self, *conversations: list[bytes]) -> None:
        self.heads: list[list[bytes]] = []
        self._conversations = conversations
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"http://{self.address}/x"
        self.closing = threading.Event()
        self.done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self.closing.set()
        self._thread.join(10)
        self._socket.close()

    def _run(self) -> None:
        for answers in self._conversations:
            peer, _ = self._socket.accept()
            self.heads.append([])
            with peer:
                for answer in answers:
                    self.heads[-1].append(self._head(peer))
                    peer.sendall(answer)
                if answers and answers[-1].endswith(b"..."):
                    self.closing.wait(10)
            self.done.set()

    def _head(self, peer: socket.socket) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += peer.recv(1)
        return head


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Start listeners that are stopped at the end."""
    started: list[Listener] = []

    def start(*conversations: list[bytes]) -> Listener:
        started.append(Listener(*conversations))
        return started[-1]

    yield start
    for listener in started:
        listener.close()


def ask(connections: Connections, url: str, method: str = "GET", body: object = None) -> tuple[int, bytes]:
    """Return the status and body of an answer."""
    with closing(connections.request(method, url, headers={}, body=body, timeout=10)) as answer:  # type: ignore[arg-type]
        return answer.status, b"".join(answer.stream())


@pytest.mark.parametrize("answer", [OK, b"HTTP/1.1 204 No Content\r\n\r\n", CHUNKED + b"2\r\nok\r\n0\r\n\r\n"])
def test_keeps_connections(listen: Callable[..., Listener], answer: bytes) -> None:
    """One connection serves one request after the other, when each answer was read to its end."""
    listener, connections = listen([answer, answer, OK]), Connections()
    for _ in range(3):
        ask(connections, listener.url)
    assert [len(heads) for heads in listener.heads] == [3]
    connections.close()


def test_does_not_keep_what_was_not_read(listen: Callable[..., Listener]) -> None:
    """What is left of one answer is never taken for the next."""
    listener, connections = listen([OK], [OK]), Connections()
    connections.request("GET", listener.url, headers={}, body=None, timeout=10).close()
    assert ask(connections, listener.url) == (200, b"ok")


def test_leaves_connections_that_the_server_has_closed(listen: Callable[..., Listener]) -> None:
    """A connection that died while it was idle is not used again."""
    listener, connections = listen([OK], [OK]), Connections()
    ask(connections, listener.url)
    assert listener.done.wait(10)
    assert ask(connections, listener.url) == (200, b"ok")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok",
        CHUNKED + b"9\r\nok",
        CHUNKED + b"2\r\nok\r\n",
    ],
)
def test_notices_a_body_that_ends_early(listen: Callable[..., Listener], answer: bytes) -> None:
    """A connection that closes before its end is no end, however it is read."""
    listener, connections = listen([answer], [answer]), Connections()
    with pytest.raises(BROKEN):
        ask(connections, listener.url)
    with closing(connections.request("GET", listener.url, headers={}, body=None, timeout=10)) as found:
        view = memoryview(bytearray(20))
        with pytest.raises(BROKEN):
            while count := found.readinto(view):
                view = view[count:]


def test_hears_a_refusal_in_the_midst_of_an_upload(listen: Callable[..., Listener]) -> None:
    """A server that answers and takes no more while it is still sent to is heard."""
    listener = listen([b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\n..."])

    def body() -> Iterator[bytes]:
        yield b"x"
        raise BrokenPipeError("the server takes no more")

    assert ask(Connections(), listener.url, "POST", body()) == (413, b"...")


def test_wakes_who_reads(listen: Callable[..., Listener]) -> None:
    """Breaking off ends a read that would wait for ever."""
    listener = listen([b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n..."])
    answer = Connections().request("GET", listener.url, headers={}, body=None, timeout=60)
    raised: list[BaseException] = []
    reading = threading.Event()

    def read() -> None:
        view = memoryview(bytearray(20))
        answer.readinto(view[:3])
        reading.set()
        try:
            answer.readinto(view)
        except BROKEN as error:
            raised.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert reading.wait(10)
    answer.break_off()
    thread.join(10)
    assert raised


def test_goes_through_a_proxy(listen: Callable[..., Listener]) -> None:
    """A proxy gets the whole URL, the server's name and its own credentials."""
    listener = listen([OK])
    connections = Connections(proxy=lambda _: f"http://me:s%40crit@{listener.address}")
    assert ask(connections, "http://cachew.example:81/a b?c=d") == (200, b"ok")
    head = listener.heads[0][0]
    assert head.startswith(b"GET http://cachew.example:81/a%20b?c=d HTTP/1.1\r\n")
    assert b"\r\nHost: cachew.example:81\r\n" in head
    assert b"\r\nProxy-Authorization: Basic " + b64encode(b"me:s@crit") + b"\r\n" in head


def test_tunnels_tls_through_a_proxy(listen: Callable[..., Listener]) -> None:
    """What is encrypted goes through a tunnel, which the proxy may refuse."""
    listener = listen([b"HTTP/1.1 403 No\r\n\r\n"])
    connections = Connections(proxy=lambda _: listener.address)
    with pytest.raises(OSError, match="403"):
        ask(connections, "https://cachew.example/x")
    assert listener.heads[0][0].startswith(b"CONNECT cachew.example:443 HTTP/1.")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "https://127.0.0.1:1"])
def test_words_what_proxies_it_cannot_use(proxy: str) -> None:
    """A proxy of a kind that is not supported is an error that names it."""
    http = Http(server="https://cachew.example", authorization=None, connections=Connections(proxy=lambda _: proxy))
    with pytest.raises(ServerUnreachable, match="not supported"):
        http.request("GET", "https://cachew.example/x")


@pytest.mark.parametrize("server", ["http://h:99999/x", "http://h:no/x", "http://[::1/x", "http://\xfc..b/x"])
@pytest.mark.parametrize("as_proxy", [False, True])
def test_an_address_that_there_cannot_be_is_a_failure_like_others(server: str, as_proxy: bool) -> None:
    """Be it where a server redirects to or what the environment names as the proxy, whoever asks can go another way."""
    connections = Connections(proxy=lambda _: server if as_proxy else None)
    with pytest.raises(OSError, match=r"Port|IPv6|idna"):
        ask(connections, "http://cachew.example/x" if as_proxy else server)


def test_names_beyond_ascii_go_through_proxies(listen: Callable[..., Listener]) -> None:
    """A proxy hears them in the form that names have in the network, with TLS and without."""
    listener = listen([OK], [b"HTTP/1.1 403 No\r\n\r\n"])
    connections = Connections(proxy=lambda _: listener.address)
    assert ask(connections, "http://\u4f60.example/x") == (200, b"ok")
    with pytest.raises(OSError, match="403"):
        ask(connections, "https://\u4f60.example/x")
    assert listener.heads[0][0].startswith(b"GET http://xn--6qq.example/x HTTP/1.1\r\nHost: xn--6qq.example\r\n")
    assert listener.heads[1][0].startswith(b"CONNECT xn--6qq.example:443 HTTP/1.1\r\nHost: xn--6qq.example:443\r\n")


def test_headers_have_no_case() -> None:
    """Fields are found whatever their case, joined when they come twice, and keep the names that they came with."""
    headers = Headers([("ETag", "1"), ("X-A", "2"), ("x-a", "3")])
    assert (headers["etag"], headers.get("X-a"), headers.get("no")) == ("1", "2, 3", None)
    assert dict(headers.replaced([("etag", "4"), ("New", "5")])) == {"etag": "4", "X-A": "2, 3", "New": "5"}
    assert len(headers) == 2


def test_takes_nothing_for_an_answer_that_was_not_asked_for(listen: Callable[..., Listener]) -> None:
    """What a server adds to its answer ends the connection."""
    listener, connections = listen([OK + OK], [OK]), Connections()
    assert ask(connections, listener.url) == (200, b"ok")
    assert ask(connections, listener.url) == (200, b"ok")
    assert [len(heads) for heads in listener.heads] == [1, 1]


def test_speaks_tls(tmp_path: Path) -> None:
    """A connection over TLS is kept like any other, and refused where nobody has vouched for the server.

    Nor is it kept when more has come than was asked for, though that lies deciphered in this process.
    """
    authority, pem = Authority(tmp_path), tmp_path / "server.pem"
    pem.write_bytes(authority.server_pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/x"

        def serve() -> None:
            for pieces in ([OK, OK[:-2], OK[-2:] + b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"], [OK]):
                with context.wrap_socket(listening.accept()[0], server_side=True) as peer:
                    for piece in pieces:
                        while not piece.startswith(OK[-2:]) and b"\r\n\r\n" not in peer.recv(1000):
                            pass
                        peer.sendall(piece)
                    peer.settimeout(10)
                    with suppress(OSError):
                        peer.recv(1)
            with suppress(OSError), context.wrap_socket(listening.accept()[0], server_side=True):
                pass

        serving = threading.Thread(target=serve)
        serving.start()
        connections = Connections(tls=lambda: ssl.create_default_context(cafile=authority.path))
        assert [ask(connections, url) for _ in range(3)] == [(200, b"ok")] * 3
        connections.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(Connections(), url)
        serving.join()
