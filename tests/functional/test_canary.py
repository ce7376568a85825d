"""No credential is ever written down: a server does all that it can do, and then everything is searched for them."""

import re
import shutil
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import zstandard
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from tests.functional import repositories
from tests.functional.canary import CommandLines, Said, found_in, marked, needles, pieces, search_state, states
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.process import ServerProcess
from tests.functional.rawhttp import ask
from tests.functional.readers import CREDENTIALS, SERVER, TOKEN, Contents, make_contents
from tests.functional.upstream import Upstream
from tests.http.wire import PATIENCE

PASSWORD = marked("of-a-client")
CLIENT = basic("alice", PASSWORD)
HEADER = f"Authorization: {CLIENT}"
BOTH = [*needles(TOKEN.encode()), *needles(PASSWORD.encode())]
"""What no answer holds; what the upstream itself says to its clients is theirs."""


async def use_everything(server: ServerProcess, git: Git, contents: Contents, admin: str) -> list[str]:
    """Have the server do whatever needs a credential, with success and without; return where a secret was answered."""
    with_header = {"http.extraHeader": HEADER}
    url = f"{server.url}/git/git.example/org/private"
    await git.run("clone", "-q", url, "cold", config=with_header)
    await git.run("ls-remote", f"{server.url}/git/git.example/org/nothing", config=with_header, check=False)
    await git.run("ls-remote", url, config={"http.extraHeader": f"Authorization: Bearer {PASSWORD}"}, check=False)
    await git.run("ls-remote", url.replace("://", f"://alice:{PASSWORD}@"), check=False)
    await git.run("-C", "cold", "push", "-q", "origin", "HEAD:refs/heads/mine", config=with_header, check=False)
    found = []
    for _ in range(2):
        for route in contents.routes():
            path = f"/git/git.example/org/private/{route.operation}"
            response = await ask(reactor, server.url, route.method, path, *route.headers, HEADER, body=route.body)
            found += found_in(route.name, response.body, repr(response.headers).encode(), of=BOTH)
    for action in ("fetch", "repack", "snapshot"):
        path = f"/admin/repositories/git.example/org/private/{action}"
        response = await ask(reactor, server.url, "POST", path, f"Authorization: Bearer {admin}")
        assert response.status == 202
    await git.run("clone", "-q", url, "warm", config=with_header)
    return found


@pytest_twisted.ensureDeferred
@pytest.mark.timeout(90)
async def test_no_credential_is_written_down(upstream: Upstream, git: Git, tmp_path: Path) -> None:
    """Neither the server's credential nor a client's is in logs, command lines, files, archives, metrics or pages."""
    contents = make_contents(upstream, "org/private", "branch-5e", seed=1)
    upstream.gate.protect("org/private", SERVER, CLIENT)
    config = f'log-level = "debug"\n[upstreams."git.example"]\nurl = "{upstream.url}"\n{CREDENTIALS % upstream.url}'
    server = ServerProcess(reactor=reactor, directory=tmp_path / "server", config=config)
    await server.start()
    try:
        admin = (tmp_path / "server" / "state" / "admin-token").read_text().strip()
        found = await use_everything(server, git, contents, admin)
        repositories.push_commit(repositories.Repository(upstream.path("org/private")), "main", "more")
        upstream.gate.protect("org/private", CLIENT)
        url = f"{server.url}/git/git.example/org/private"
        await git.run("clone", "-q", url, "late", config={"http.extraHeader": HEADER})
        for path in ("/metrics", "/admin/", "/admin/overview", "/admin/repositories"):
            response = await ask(reactor, server.url, "GET", path, f"Authorization: Bearer {admin}")
            assert response.status == 200
            found += found_in(path, response.body)
        limits = server.facts("limits").decode()
        found += found_in("the server's environment", server.facts("environ"))
    finally:
        await server.stop()
    assert re.search(r"Max core file size +0 ", limits), "a core dump would hold them"
    assert len(server.log) > 10_000
    for file in (tmp_path / "server").rglob("*"):
        if file.is_file() and file.name != "cachew.toml":
            found += [line for piece in pieces(file) for line in found_in(str(file), piece)]
    assert not found, "\n".join(found)


SHOWN = "--password=another-canary"
PLANTED = f"x-access-token:{marked('planted')}"


def test_the_search_is_not_blind(tmp_path: Path) -> None:
    """What the search is for is found plainly and in Base64, in archives, in logs and in what else servers say."""
    for form in (PLANTED.encode(), b64encode(PLANTED.encode()), b64encode(b"a:" + PLANTED.encode())):
        state = tmp_path / form[-9:].hex()
        (state / "cache").mkdir(parents=True)
        (state / "admin-token").write_text("the-token-of-the-admin\n")
        assert states(tmp_path)[-1:] and not search_state(state)
        archive = zstandard.compress(bytes(5_000_000)) + zstandard.compress(b"of .git/config: " + form)
        (state / "cache" / "object").write_bytes(archive + b"its record")
        (state / "schedule.json").write_bytes(form)
        (state / "public.json").write_text("the-token-of-the-admin")
        assert len(search_state(state)) == 3
        shutil.rmtree(state)
    said = Said()
    Logger(observer=said).info("nothing to see", request=f"GET / {PLANTED}")
    said.add(PLANTED.encode())
    assert len(found_in("", *said.whole().splitlines())) == 2


@pytest_twisted.ensureDeferred
async def test_command_lines_are_seen(git: Git) -> None:
    """A process that shows a secret is found out, and a user's own git is not."""
    lines = CommandLines(needles(b"another-canary"))
    lines.start()
    script = "import sys; sys.stdin.read()"
    showing: Any = ProcessProtocol()
    showing.done = Deferred()
    showing.processEnded = lambda reason: showing.done.callback(None)
    process = reactor.spawnProcess(showing, sys.executable, [sys.executable, "-c", script, SHOWN], env={})
    own = git.run("-c", f"alias.x=!{sys.executable} -c '{script}' {SHOWN}", "x", stdin=b"")
    try:
        await own
        await deferToThread(lines.seen.wait, PATIENCE)
    finally:
        process.loseConnection()
        await showing.done
        lines.stop()
    assert {words.rstrip(b"\0").split(b"\0")[-1] for words in lines.found} == {SHOWN.encode()}
    assert len(lines.found) == 1 and lines.samples
