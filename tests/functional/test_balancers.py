"""The load balancers' configs of the page on operating: each repository has one server as long as that lives."""

import http.client
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text()
OPERATIONS = (
    "/info/refs?service=git-upload-pack", ".git/info/refs?service=git-upload-pack", "/git-upload-pack",
    ".git/git-upload-pack", "/git-receive-pack", ".git/info/lfs/objects/batch", "/snapshot.tar.zst",
    "/lfs-snapshot.tar.zst?ref=refs/heads/main", "/snapshot.bundle?base=1", "/bundle-list", "/ensure-refs",
)  # fmt: skip
REPOSITORIES = [f"git.example/group/sub/r{number}" for number in range(24)]


class Server(ThreadingHTTPServer):
    """A server that answers who it is."""

    class Handler(BaseHTTPRequestHandler):
        """Answers with the server's port."""

        def do_GET(self) -> None:
            """Answer."""
            body = str(self.request.getsockname()[1]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def stop(self) -> None:
        """End it."""
        self.shutdown()
        self.server_close()
        self.thread.join()


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Three servers."""
    started = [Server() for _ in range(3)]
    yield started
    for server in started:
        server.stop()


def block(language: str) -> str:
    """Return the page's example."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    return str(text)


def with_ports(text: str, servers: list[Server]) -> str:
    """Name servers of the test instead of the example's."""
    for number, server in enumerate(servers, 11):
        text = text.replace(f"10.0.0.{number}:8080", f"127.0.0.1:{server.server_address[1]}")
    assert "10.0.0." not in text
    return text


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def nginx(directory: Path, servers: list[Server]) -> Iterator[int]:
    """Run nginx; gives its port."""
    port = free_port()
    example = with_ports(block("nginx"), servers).replace("listen 80;", f"listen 127.0.0.1:{port};")
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        f"pid {directory}/pid;\nerror_log {directory}/log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{example}\n}}\n"
    )
    with daemon(directory, "nginx", "-p", str(directory), "-c", str(directory / "nginx.conf")):
        yield port


@contextmanager
def haproxy(directory: Path, servers: list[Server]) -> Iterator[int]:
    """Run HAProxy; gives its port."""
    port = free_port()
    (directory / "haproxy.cfg").write_text(
        f"global\n  pidfile {directory}/pid\n"
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
        "  option redispatch 1\n"
        f"frontend front\n  bind 127.0.0.1:{port}\n  default_backend cachew\n{with_ports(block('haproxy'), servers)}"
    )
    with daemon(directory, "haproxy", "-D", "-f", str(directory / "haproxy.cfg")):
        yield port


@contextmanager
def daemon(directory: Path, *command: str) -> Iterator[None]:
    """Run what goes into the background as soon as it listens."""
    started = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert started.returncode == 0, started.stderr
    try:
        yield
    finally:
        for pid in (directory / "pid").read_text().split():
            subprocess.run(["kill", f"-{signal.SIGTERM.value}", pid], check=True)


def homes(port: int, operations: tuple[str, ...] = OPERATIONS) -> dict[str, set[str]]:
    """Ask for everything of every repository; return which servers have answered."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    found: dict[str, set[str]] = {}
    for repository in REPOSITORIES:
        for operation in operations:
            client.request("GET", f"/git/{repository}{operation}")
            response = client.getresponse()
            body = response.read().decode()
            assert response.status == 200, body
            found.setdefault(repository, set()).add(body)
    client.close()
    return found


@pytest.mark.parametrize("balancer", [nginx, haproxy])
def test_each_repository_has_one_server(balancer: Any, tmp_path: Path, servers: list[Server]) -> None:
    """Whatever is asked of it; all servers have some; when one goes, the repositories of the others stay."""
    tmp_path.chmod(0o755)
    with balancer(tmp_path, servers) as port:
        before = homes(port)
        assert all(len(found) == 1 for found in before.values())
        assert set().union(*before.values()) == {str(server.server_address[1]) for server in servers}
        servers[0].stop()
        gone = str(servers[0].server_address[1])
        after = homes(port, OPERATIONS[:1])
        assert all(after[name] == before[name] for name in before if before[name] != {gone})
        assert gone not in set().union(*after.values())


def test_envoy_is_told_the_same() -> None:
    """Envoy's config takes the repository out of every path as the others' do."""
    document = yaml.safe_load((ROOT / "contrib" / "proxies" / "envoy.yaml").read_text())
    (listener,) = document["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    rewrite = route["hash_policy"][0]["header"]["regex_rewrite"]
    pattern = re.compile(rewrite["pattern"]["regex"])
    for repository in REPOSITORIES[:2]:
        found = {pattern.sub(rewrite["substitution"], f"/git/{repository}{operation}") for operation in OPERATIONS}
        assert found == {repository}
    (cluster,) = document["static_resources"]["clusters"]
    assert cluster["lb_policy"] == "RING_HASH"
