"""The object API of a whole server: to the original client's requests byte by byte, and to the real command."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.functional.conftest import Start
from tests.functional.gitclient import Git, Result
from tests.functional.loglines import listening
from tests.functional.rawhttp import ask, connect, request_head
from tests.functional.replicas import tiers
from tests.functional.restoring import cachew_command
from tests.functional.server import Cachew
from tests.http.wire import Response

KEY = hashlib.sha256(b"key").hexdigest()
OBJECT = f"/api/v1/object/build/{KEY}"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("shared", [False, True], ids=["disk", "disk and s3"])
async def test_the_original_client_s_requests(start: Start, store: str, tmp_path: Path, shared: bool) -> None:
    """One connection after another request, as Go's client sends them: chunks, canonical names, its agent."""
    cachew = await start(tiers(store, tmp_path.name) if shared else "")
    client = await connect(reactor, cachew.url)
    content = b"0123456789" * 1000

    async def send(method: str, path: str, *headers: str, body: bytes | None = None) -> Response:
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {cachew.url.removeprefix('http://')}",
            "User-Agent: Go-http-client/1.1",
            *(["Transfer-Encoding: chunked"] if body is not None else []),
            f"Authorization: Bearer {cachew.token}",
            *headers,
            "Accept-Encoding: gzip",
            *(["Content-Length: 0"] if method == "POST" and body is None else []),
        ]
        chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        client.send("\r\n".join([*lines, "", ""]).encode(), chunk, b"" if body is None else b"0\r\n\r\n")
        return await client.response(bodiless=method == "HEAD")

    stored = ("Content-Type: application/zstd", 'Content-Disposition: attachment; filename="a.tar.zst"')
    answer = await send("POST", OBJECT, *stored, "Time-To-Live: 1h0m0s", "X-Meta: 1", body=content)
    assert (answer.status, answer.body) == (200, b"")
    answer = await send("GET", OBJECT)
    assert (answer.status, answer.body) == (200, content)
    returned = {name: answer.headers.get(name) for name in ("content-type", "content-disposition", "x-meta", "etag")}
    assert returned == {
        "content-type": "application/zstd",
        "content-disposition": 'attachment; filename="a.tar.zst"',
        "x-meta": "1",
        "etag": f'"{hashlib.sha256(content).hexdigest()}"',
    }
    assert "time-to-live" not in answer.headers and "content-encoding" not in answer.headers
    assert answer.headers["last-modified"].endswith(" GMT")
    answer = await send("HEAD", OBJECT)
    assert (answer.status, answer.headers["content-length"]) == (200, str(len(content)))
    answer = await send("GET", OBJECT, "Range: bytes=10-19")
    assert (answer.status, answer.body, answer.headers["content-range"]) == (206, content[10:20], "bytes 10-19/10000")
    answer = await send("GET", "/api/v1/object/build/key")
    assert (answer.status, answer.body) == (200, content)
    answer = await send("GET", "/api/v1/stats")
    assert json.loads(answer.body) == {"objects": 1, "size": 10_000, "capacity": 0 if shared else 10**11}
    answer = await send("GET", "/api/v1/namespaces")
    assert json.loads(answer.body) == ["build"]
    assert (await send("POST", f"{OBJECT}/invalidate")).status == 200
    assert (await send("POST", OBJECT, body=b"")).status == 200
    assert (await send("DELETE", OBJECT)).status == 200
    for method in ("GET", "HEAD", "DELETE"):
        assert (await send(method, OBJECT)).status == 404
    assert (await send("POST", "/api/v1/object/git/key", body=b"x")).status == 403
    client.transport.loseConnection()
    await client.lost.wait()


@pytest_twisted.ensureDeferred
async def test_strangers_are_told_who_may(start: Start) -> None:
    """Without the token nothing is read or stored."""
    cachew = await start()
    for method, path in (("GET", OBJECT), ("POST", OBJECT), ("GET", "/api/v1/stats"), ("GET", "/api/v1/namespaces")):
        answer = await ask(reactor, cachew.url, method, path, body=b"x" if method == "POST" else b"")
        assert (answer.status, "www-authenticate" in answer.headers) == (401, True)


@pytest_twisted.ensureDeferred
async def test_too_large_objects_are_refused(start: Start) -> None:
    """The limit of the config holds, whatever the client announces."""
    cachew = await start('[limits]\nmax-object = "1KiB"')
    token = f"Authorization: Bearer {cachew.token}"
    for more in ((), ("Transfer-Encoding: chunked",)):
        body = b"401\r\n" + b"x" * 1025 + b"\r\n0\r\n\r\n" if more else b"x" * 1025
        assert (await ask(reactor, cachew.url, "POST", OBJECT, token, *more, body=body)).status == 413
    assert (await ask(reactor, cachew.url, "GET", OBJECT, token)).status == 404
    assert (await ask(reactor, cachew.url, "POST", OBJECT, token, body=b"x" * 1024)).status == 200


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("shared", [False, True], ids=["disk", "disk and s3"])
async def test_the_command(start: Start, git: Git, store: str, tmp_path: Path, shared: bool) -> None:
    """Objects and directories go to the server and come back, with everything that the command can do with them."""
    cachew = await start(tiers(store, tmp_path.name) if shared else "")
    user = User(cachew, git)
    (git.home / "file").write_bytes(os.urandom(3_000_000))
    await user("put", "build", "key", "file", "--ttl", "1h", "-H", "X-Meta=1")
    got = await user("get", "build", "key", "-o", "copy")
    assert (git.home / "copy").read_bytes() == (git.home / "file").read_bytes()
    assert "X-Meta: 1" in got.err
    told = await user("stat", "build", "key")
    assert "3000000" in told.out + told.err
    assert (await user("namespaces")).out == "build"
    assert "1" in (await user("stats")).out
    tree = git.home / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "a").write_text("content")
    (tree / "link").symlink_to("sub/a")
    await user("save", "build", "tree", "--key", "the tree")
    await user("restore", "build", "again", "--key", "the tree")
    assert (git.home / "again" / "sub" / "a").read_text() == "content"
    assert os.readlink(git.home / "again" / "link") == "sub/a"
    assert (await user("restore", "build", "none", "--key", "no such tree", check=False)).code == 2
    await user("delete", "build", "key")
    assert (await user("get", "build", "key", check=False)).code != 0


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("shared", [False, True], ids=["disk", "disk and s3"])
async def test_of_ten_uploads_that_allow_no_other_one_is_stored(
    start: Start, store: str, tmp_path: Path, shared: bool
) -> None:
    """All are let begin while there is nothing; the first to end is stored, the others are refused."""
    cachew = await start(tiers(store, tmp_path.name) if shared else "")
    token = f"Authorization: Bearer {cachew.token}"
    clients = [await connect(reactor, cachew.url) for _ in range(10)]
    for client in clients:
        lines = ("Content-Length: 100000", "Expect: 100-continue", "If-None-Match: *")
        client.send(request_head("POST", OBJECT, token, *lines))
    assert [(await client.head()).status for client in clients] == [100] * 10
    for number, client in enumerate(clients):
        client.send(b"%d" % number * 100_000)
    statuses = [(await client.response()).status for client in clients]
    assert sorted(statuses) == [200] + [412] * 9
    stored = await ask(reactor, cachew.url, "GET", OBJECT, token)
    assert stored.body == b"%d" % statuses.index(200) * 100_000
    for client in clients:
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_a_key_with_control_characters(start: Start, git: Git) -> None:
    """It is the same key on the wire and on the command line, and stands escaped in the log."""
    cachew = await start()
    user, token = User(cachew, git), f"Authorization: Bearer {cachew.token}"
    (git.home / "file").write_bytes(b"content")
    with listening() as log:
        await user("put", "build", "one\ntwo\r\n\x1b[1m", "file")
        escaped = "one%0Atwo%0D%0A%1B%5B1m"
        answer = await ask(reactor, cachew.url, "GET", f"/api/v1/object/build/{escaped}", token)
        assert (answer.status, answer.body) == (200, b"content")
        assert (await user("get", "build", "one\ntwo\r\n\x1b[1m")).out == "content"
        assert (await user("stat", "build", "one\ntwo\r\n\x1b[1m")).code == 0
        await user("delete", "build", "one\ntwo\r\n\x1b[1m")
        for method, status in (("GET", 404), ("POST", 200), ("GET", 200), ("DELETE", 200), ("DELETE", 404)):
            answer = await ask(reactor, cachew.url, method, "/api/v1/object/build/a%00%0A%1Bb", token)
            assert answer.status == status
        assert log.count(escaped) == 1
        assert log.count("a%00%0A%1Bb") == 5
        assert not [line for line in log.lines if "\x1b" in line or "\x00" in line or "\ntwo" in line]


class User:
    """Runs the command for a server.

    :param git: whose home it runs in.
    """

    def __init__(self, cachew: Cachew, git: Git) -> None:
        self._cachew, self._git = cachew, git

    async def __call__(self, *words: str, check: bool = True) -> Result:
        """Run ``cachew WORDS…``."""
        there: Any = reactor
        authorization = f"Bearer {self._cachew.token}"
        options = ("--url", self._cachew.url, "--authorization", authorization)
        return await cachew_command(there, self._git, *options, *words, check=check)
