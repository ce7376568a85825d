"""Requests byte by byte: for what no HTTP client would send, and for clients that are slow or go away."""

from typing import Any
from urllib.parse import urlsplit

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from tests.http.wire import RawClient, Response, patient


async def connect(reactor: Any, url: str) -> RawClient:
    """Open a connection to a server on loopback.

    :param url: the server's base URL.
    """
    port = urlsplit(url).port
    assert port is not None
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    client: RawClient = await patient(connectProtocol(endpoint, RawClient()))
    return client


def request_head(method: str, path: str, *headers: str) -> bytes:
    """Return the head of a request whose connection ends with it.

    :param path: the target, which may break every rule.
    :param headers: lines, ``Name: value``.
    """
    return request_lines(method, path, "Connection: close", *headers)


def request_lines(method: str, path: str, *headers: str) -> bytes:
    """Return the head of a request after which there may be another."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode("latin-1")


def fetch_request(want: str, repository: str = "git.example/org/repo") -> bytes:
    """Return a whole request for a clone in protocol v2.

    :param want: the commit.
    :param repository: its name on the server.
    """
    body = b"0012command=fetch\n0001%04xwant %s\n0009done\n0000" % (len(want) + 10, want.encode())
    headers = (
        "Content-Type: application/x-git-upload-pack-request",
        "Git-Protocol: version=2",
        f"Content-Length: {len(body)}",
    )
    return request_head("POST", f"/git/{repository}/git-upload-pack", *headers) + body


async def ask(reactor: Any, url: str, method: str, path: str, *headers: str, body: bytes = b"") -> Response:
    """Send one request on a connection of its own and return the whole response.

    :param body: sent as it is, right after the head; its length is announced unless ``headers`` frame it.
    """
    client = await connect(reactor, url)
    framed = any(line.lower().startswith(("content-length:", "transfer-encoding:")) for line in headers)
    length = [] if framed or (not body and method != "POST") else [f"Content-Length: {len(body)}"]
    client.send(request_head(method, path, *headers, *length), body)
    response = await client.response(bodiless=method == "HEAD")
    client.transport.loseConnection()
    await client.lost.wait()
    return response
