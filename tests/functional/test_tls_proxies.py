"""The examples of proxies in ``contrib/proxies`` run in front of a server, with TLS."""

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

from tests.fakes.objectservers import free_ports
from tests.functional import loglines
from tests.functional.certificates import Authority
from tests.functional.conftest import Start
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.repositories import make_repository
from tests.functional.upstream import Upstream

EXAMPLES = Path(__file__).parents[2] / "contrib" / "proxies"
SERVERS = "/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin"
CADDY = "{\n\tadmin unix/%s/admin\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"


async def shell(line: str, directory: Path) -> str:
    """Run a line and return what it wrote, which has to be good."""
    words = ["-c", f"{line} >output 2>&1; status=$?; cat output; exit $status"]
    environment = {"PATH": SERVERS, "HOME": str(directory)}
    out, _, status = await getProcessOutputAndValue("/bin/sh", words, environment, str(directory), reactor)
    said = bytes(out).decode()
    assert status == 0, said
    return said


def nginx(directory: Path, port: int, server: int) -> tuple[str, str]:
    """Write nginx's whole config out of the example; return what starts and what ends it."""
    text = (EXAMPLES / "nginx.conf").read_text().replace("127.0.0.1:8080", f"127.0.0.1:{server}")
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;").replace("cachew.example;", "localhost;")
    text = re.sub(r"/etc/ssl/cachew.example\.\w+", str(directory / "server.pem"), text)
    places = "".join(
        f"{kind}_temp_path {directory / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    head = f"pid {directory}/pid;\nerror_log {directory}/error.log;\nworker_processes 1;\nevents {{}}\n"
    (directory / "nginx.conf").write_text(f"{head}http {{\naccess_log off;\n{places}{text}}}\n")
    command = f"nginx -p {directory} -e {directory}/error.log -c {directory}/nginx.conf"
    return command, f"{command} -s stop"


def caddy(directory: Path, port: int, server: int) -> tuple[str, str]:
    """Write Caddy's whole config out of the example; return what starts and what ends it."""
    text = (EXAMPLES / "Caddyfile").read_text().replace("127.0.0.1:8080", f"127.0.0.1:{server}")
    pem = directory / "server.pem"
    site = f"https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {pem} {pem}"
    (directory / "Caddyfile").write_text(CADDY % directory + text.replace("cachew.example {", site))
    admin = f"unix/{directory}/admin"
    return f"caddy start --config {directory}/Caddyfile --adapter caddyfile", f"caddy stop --address {admin}"


@asynccontextmanager
async def proxy(name: str, directory: Path, port: int, server: int) -> AsyncIterator[None]:
    """A proxy in front of the server's port; it listens when its start returns."""
    assert shutil.which(name, path=SERVERS), f"{name} is needed: scripts/test installs it"
    start, stop = {"nginx": nginx, "caddy": caddy}[name](directory, port, server)
    await shell(start, directory)
    try:
        yield
    finally:
        await shell(stop, directory)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("name", ["nginx", "caddy"])
async def test_git_bundles_and_logins_go_through(
    upstream: Upstream, git: Git, start: Start, authority: Authority, tmp_path: Path, name: str
) -> None:
    """Clones, pushes of megabytes, bundle lists and login links are right for clients that know the proxy only."""
    repository = make_repository(upstream.path("org/repo"), commits=3)
    upstream.gate.allow_push("org/repo", basic("ann", "pushes"))
    (port,) = free_ports(1)
    public = f"https://localhost:{port}"
    directory = tmp_path / "proxy"
    directory.mkdir()
    (directory / "server.pem").write_bytes(authority.server_pem())
    with loglines.listening() as log:
        cachew = await start('[access]\nproxies = ["127.0.0.1/32"]', head=f'public-url = "{public}/"')
        async with proxy(name, directory, port, cachew.parts.server.addresses[0].port):
            git.config["http.sslCAInfo"] = str(authority.path)
            git.config[f"http.{public}/.extraHeader"] = f"Authorization: {basic('ann', 'pushes')}"
            url = f"{public}/git/git.example/org/repo"
            mirror = await cachew.mirrored("org/repo")
            await cachew.parts.snapshots.bundle_store.update(mirror.identity)
            await git.run("clone", "-q", f"--bundle-uri={url}/bundle-list", url, "clone")
            assert (await git.run("-C", "clone", "for-each-ref", "refs/bundles")).out
            clone = git.home / "clone"
            (clone / "large").write_bytes(bytes(range(256)) * 12_000)
            await git.run("-C", "clone", "add", "large")
            await git.run("-C", "clone", "-c", "core.compression=0", "commit", "-qm", "large")
            await git.run("-C", "clone", "-c", "http.postBuffer=1000000", "push", "-q", "origin", "HEAD:main")
            assert (await git.run("-C", "clone", "rev-parse", "HEAD")).out == repository.commit()
            listed = await shell(f"curl -fsS --cacert {authority.path} {url}/bundle-list", directory)
            assert set(re.findall(r"uri = (\S+?)/git/", listed)) == {public}
            (link,) = re.findall(rf"{public}/admin/login\?code=\S+", "\n".join(log.lines))
            jar = f"curl -fsS --cacert {authority.path} -c jar -b jar"
            await shell(f"{jar} '{link}'", directory)
            assert "org/repo" in await shell(f"{jar} {public}/admin/repositories", directory)
            seen = [line for line in log.lines if "/git-receive-pack 200" in line]
            assert seen and all("for 127.0.0.1" in line for line in seen)
            await cachew.quiet()
