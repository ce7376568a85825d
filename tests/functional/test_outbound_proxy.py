"""Upstreams that only a proxy leads to."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from tests.fakes.httpproxy import HttpProxy
from tests.functional import repositories
from tests.functional.canary import marked
from tests.functional.certificates import Authority
from tests.functional.conftest import Start
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.rawhttp import ask
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream

PASSWORD = marked("pr0xy")
FAR = "git.far.example"


@pytest_twisted.async_yield_fixture
async def proxy(upstream: Upstream) -> AsyncIterator[HttpProxy]:
    """A proxy that wants a password and alone knows where the host is."""
    from twisted.internet import reactor

    made = HttpProxy(reactor=reactor, places={f"{FAR}:3000": upstream.port}, password=f"me:{PASSWORD}")
    made.start()
    yield made
    await made.stop()


def config(proxy: HttpProxy, tmp_path: Path, host: str) -> str:
    """Return the config of a server behind that proxy."""
    (tmp_path / "proxy-password").write_text(f"me:{PASSWORD}\n")
    return f"""
[upstreams."far.example"]
url = "{host}"
[proxy]
url = "{proxy.url}"
credentials-file = "{tmp_path}/proxy-password"
[[credentials]]
kind = "token"
url-prefix = "{host}"
token = "{marked("own")}"
[git]
ref-check-interval = "0s"
"""


async def cloned(git: Git, cachew: Cachew, name: str, repository: str = "org/repo") -> str:
    """Clone through the server and return the commit."""
    await git.run("clone", "-q", f"{cachew.url}/git/far.example/{repository}", name)
    return (await git.run("rev-parse", "HEAD", cwd=git.home / name)).out


@pytest_twisted.ensureDeferred
async def test_http_through_a_proxy(
    upstream: Upstream, proxy: HttpProxy, git: Git, start: Start, tmp_path: Path
) -> None:
    """Ref checks, pass-through, git's own fetches and pushes all go through it, and nothing goes another way."""
    repository = repositories.make_repository(upstream.path("org/repo"))
    cachew = await start(config(proxy, tmp_path, f"http://{FAR}:3000/"))
    assert await cloned(git, cachew, "cold") == repository.commit()
    await cachew.quiet()
    pushed = repositories.push_commit(repository)
    assert await cloned(git, cachew, "warm") == pushed
    upstream.gate.allow_push("org/repo", basic("me", "s3cret"))
    git.config[f"http.{cachew.url}/.extraHeader"] = f"Authorization: {basic('me', 's3cret')}"
    await git.run("commit", "-q", "--allow-empty", "-m", "mine", cwd=git.home / "warm")
    await git.run("push", "-q", "origin", "HEAD", cwd=git.home / "warm")
    assert repository.commit() == (await git.run("rev-parse", "HEAD", cwd=git.home / "warm")).out
    assert all(line.partition(" ")[2].startswith(f"http://{FAR}:3000/org/repo") for line in proxy.asked)
    asked = "\n".join(proxy.asked)
    assert all(word in asked for word in ("info/refs", "git-upload-pack", "git-receive-pack"))


@pytest_twisted.ensureDeferred
async def test_https_through_a_proxy(
    proxy: HttpProxy, git: Git, start: Start, authority: Authority, tmp_path: Path
) -> None:
    """Tunnels lead to a host whose certificate is verified here; a private repository is mirrored through them."""
    from twisted.internet import reactor

    (tmp_path / "secure").mkdir()
    secure = Upstream(reactor=reactor, root=tmp_path / "secure", tls=authority.server_options())
    repository = repositories.make_repository(secure.path("org/private"))
    secure.gate.protect("org/private", basic("x-access-token", "own"), basic("me", "s3cret"))
    await secure.start()
    try:
        proxy.places["localhost:443"] = proxy.places[f"{FAR}:3000"] = secure.port
        text = config(proxy, tmp_path, "https://localhost/").replace(
            'url = "https://localhost/"\n[proxy]',
            f'url = "https://localhost/"\nca-file = "{authority.path}"\nproxy = "{proxy.url}"\n'
            f'proxy-credentials-file = "{tmp_path}/proxy-password"\n[proxy]',
        )
        cachew = await start(text)
        git.config[f"http.{cachew.url}/.extraHeader"] = f"Authorization: {basic('me', 's3cret')}"
        assert await cloned(git, cachew, "cold", "org/private") == repository.commit()
        await cachew.quiet()
        assert [mirror.identity.path for mirror in cachew.parts.mirrors.collection if mirror.ready] == ["org/private"]
        assert set(proxy.asked) == {"CONNECT localhost:443"}
    finally:
        await secure.stop()


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_refuses_is_named(
    upstream: Upstream, proxy: HttpProxy, git: Git, start: Start, tmp_path: Path
) -> None:
    """A wrong password and a host that the proxy doesn't reach end in an answer that says so."""
    cachew = await start(config(proxy, tmp_path, f"https://{FAR}:3000/"))
    (tmp_path / "proxy-password").write_text("me:wrong\n")
    refused = await git.run("ls-remote", f"{cachew.url}/git/far.example/org/repo", check=False)
    assert refused.code == 128
    path = "/git/far.example/org/repo/info/refs?service=git-upload-pack"
    reply = await ask(cachew.parts.runtime.reactor, cachew.url, "GET", path)
    assert reply.status == 502 and b"its proxy answered 407 Proxy Authentication Required to CONNECT" in reply.body
