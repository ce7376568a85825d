"""No credential is ever written down: a server does all that it can do, and then everything is searched for them."""

import base64
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
import zstandard
from twisted.internet import reactor
from twisted.internet.task import LoopingCall

from tests.functional import repositories
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.process import ServerProcess, command_lines
from tests.functional.rawhttp import ask
from tests.functional.readers import CREDENTIALS, SERVER, TOKEN, Contents, make_contents
from tests.functional.upstream import Upstream

PASSWORD = "cli-canary-77d0e3b1c5"
CLIENT = basic("alice", PASSWORD)
HEADER = f"Authorization: {CLIENT}"
SECRETS = (
    TOKEN.encode(),
    PASSWORD.encode(),
    SERVER.removeprefix("Basic ").encode(),
    CLIENT.removeprefix("Basic ").encode(),
    base64.b64encode(TOKEN.encode()),
    base64.b64encode(PASSWORD.encode()),
)


def pieces(path: Path) -> Iterator[bytes]:
    """Yield a file as it is, and decompressed when it is an archive."""
    data = path.read_bytes()
    yield data
    while (place := data.find(b"\x28\xb5\x2f\xfd")) >= 0:  # a frame of zstd
        frame = zstandard.ZstdDecompressor().decompressobj()
        with contextlib.suppress(zstandard.ZstdError):
            yield frame.decompress(data[place:])
        data = frame.unused_data


def found_in(name: str, *texts: bytes) -> list[str]:
    """Return a line for each secret in some texts."""
    return [f"{secret!r} is in {name}" for secret in SECRETS for text in texts if secret in text]


async def use_everything(server: ServerProcess, git: Git, contents: Contents, admin: str) -> list[str]:
    """Have the server do whatever needs a credential, with success and without; return where a secret was answered."""
    with_header = {"http.extraHeader": HEADER}
    url = f"{server.url}/git/git.example/org/private"
    await git.run("clone", "-q", url, "cold", config=with_header)
    await git.run("ls-remote", f"{server.url}/git/git.example/org/nothing", config=with_header, check=False)
    await git.run("ls-remote", url, config={"http.extraHeader": f"Authorization: Bearer {PASSWORD}"}, check=False)
    await git.run("ls-remote", url.replace("://", f"://alice:{PASSWORD}@"), check=False)
    await git.run("-C", "cold", "push", "-q", "origin", "HEAD:refs/heads/mine", config=with_header, check=False)
    said = []
    for _ in range(2):
        for route in contents.routes():
            path = f"/git/git.example/org/private/{route.operation}"
            response = await ask(reactor, server.url, route.method, path, *route.headers, HEADER, body=route.body)
            said += found_in(route.name, response.body, repr(response.headers).encode())
    for action in ("fetch", "repack", "snapshot"):
        path = f"/admin/repositories/git.example/org/private/{action}"
        response = await ask(reactor, server.url, "POST", path, f"Authorization: Bearer {admin}")
        assert response.status == 202
    await git.run("clone", "-q", url, "warm", config=with_header)
    return said


@pytest_twisted.ensureDeferred
@pytest.mark.timeout(90)
async def test_no_credential_is_written_down(upstream: Upstream, git: Git, tmp_path: Path) -> None:
    """Neither the server's credential nor a client's is in logs, command lines, files, archives, metrics or pages."""
    contents = make_contents(upstream, "org/private", "branch-5e", seed=1)
    upstream.gate.protect("org/private", SERVER, CLIENT)
    config = f'log-level = "debug"\n[upstreams."git.example"]\nurl = "{upstream.url}"\n{CREDENTIALS % upstream.url}'
    server = ServerProcess(reactor=reactor, directory=tmp_path / "server", config=config)
    seen: set[bytes] = set()
    sampling = LoopingCall(lambda: seen.update(command_lines().split(b"\n")))
    await server.start()
    stopped = sampling.start(0.005)
    try:
        admin = (tmp_path / "server" / "state" / "admin-token").read_text().strip()
        said = await use_everything(server, git, contents, admin)
        repositories.push_commit(repositories.Repository(upstream.path("org/private")), "main", "more")
        upstream.gate.protect("org/private", CLIENT)
        url = f"{server.url}/git/git.example/org/private"
        await git.run("clone", "-q", url, "late", config={"http.extraHeader": HEADER})
        for path in ("/metrics", "/admin/", "/admin/overview", "/admin/repositories"):
            response = await ask(reactor, server.url, "GET", path, f"Authorization: Bearer {admin}")
            assert response.status == 200
            said += found_in(path, response.body)
        limits = server.facts("limits").decode()
        said += found_in("the server's environment", server.facts("environ"))
    finally:
        sampling.stop()
        await stopped
        await server.stop()
    assert re.search(r"Max core file size +0 ", limits), "a core dump would hold them"
    commands = b"\n".join(seen)
    assert b"fetch\0" in commands and b"lfs\0" in commands, "the samples are too few"
    said += found_in("a command line", commands.replace(PASSWORD.encode() + b"@", b""))
    said += found_in("the log", bytes(server.log))
    assert len(server.log) > 10_000
    archives = 0
    for file in (tmp_path / "server").rglob("*"):
        if file.is_file() and file.name != "cachew.toml":
            texts = list(pieces(file))
            archives += len(texts) - 1
            said += found_in(str(file), *texts)
    assert archives >= 2, "the search is blind to archives"
    assert not said, "\n".join(said)
    assert admin.encode() not in bytes(server.log) + commands
