"""Real object stores on loopback: SeaweedFS out of its wheel, and moto's server as a second implementation."""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

BUCKET = "cachew-tests"
ACCESS_KEY, SECRET_KEY = "tester", "tester-secret"
_OWN_PORTS = (20_000, 32_000)
_BIN = Path(sys.executable).parent


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, none of those that the kernel gives to connections meanwhile."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(found) < count:
            one = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", random.SystemRandom().randrange(*_OWN_PORTS)))
                found.append(int(one.getsockname()[1]))
    return found


@contextlib.contextmanager
def _running(argv: list[str], home: str, ready: str) -> Iterator[None]:
    """Run a server from the moment it says that it is ready."""
    environment = {
        "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}",
        "HOME": home,
        "TMPDIR": home,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "PYTHONUNBUFFERED": "1",
    }
    log = Path(home, "log")
    server = subprocess.Popen(
        argv, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert server.stdout is not None
    try:
        for line in server.stdout:
            with log.open("ab") as file:
                file.write(line)
            if ready.encode() in line:
                break
        else:
            raise RuntimeError(f"{argv[0]} did not start: {log.read_text()}")
        # It may go on writing as long as it runs, into a pipe that must not fill up.
        drain = subprocess.Popen(["cat"], stdin=server.stdout, stdout=subprocess.DEVNULL)
        yield
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
        if "drain" in locals():
            drain.wait()


@contextlib.contextmanager
def seaweedfs() -> Iterator[str]:
    """Run SeaweedFS and give the URL of its S3 gateway, where :data:`BUCKET` exists."""
    home = tempfile.mkdtemp(prefix="weed")
    names = ["master", "volume", "filer", "s3", "admin"]
    ports = free_ports(2 * len(names))
    flags = [f"-{name}.port={port}" for name, port in zip(names, ports, strict=False)]
    flags += [f"-{name}.port.grpc={port}" for name, port in zip(names, ports[len(names) :], strict=True)]
    argv = [
        str(_BIN / "weed"),
        "mini",
        f"-dir={home}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-webdav=false",
        "-admin.ui=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.localSocket={home}/s3.sock",
        f"-filer.localSocket={home}/filer.sock",
        f"-bucket={BUCKET}",
        *flags,
    ]
    try:
        with _running(argv, home, "All enabled components are running"):
            yield f"http://127.0.0.1:{ports[3]}"
    finally:
        shutil.rmtree(home, ignore_errors=True)
        for name, port in zip(names, ports[len(names) :], strict=True):
            # Its parts talk by these, whose places it lets nobody choose, and it leaves them when it is killed.
            Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock").unlink(missing_ok=True)


_MOTO = """
import sys, threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

application, one = DomainDispatcherApplication(create_backend_app), threading.Lock()

def serve(environ, start_response):
    with one:
        return application(environ, start_response)

run_simple("127.0.0.1", int(sys.argv[1]), serve, threaded=True, request_handler=MotoRequestHandler)
"""
# By itself it looks at a condition and stores in two steps, between which another request may store as well.


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """Run moto's server and give its URL, where :data:`BUCKET` exists."""
    home = tempfile.mkdtemp(prefix="moto")
    (port,) = free_ports(1)
    try:
        with _running([sys.executable, "-c", _MOTO, str(port)], home, "Running on"):
            url = f"http://127.0.0.1:{port}"
            urlopen(Request(f"{url}/{BUCKET}", method="PUT"), timeout=10).close()
            yield url
    finally:
        shutil.rmtree(home, ignore_errors=True)
