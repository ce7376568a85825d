"""Free ports and waiting for servers, on loopback only."""

import os
import signal
import socket
import subprocess
import time

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port that nothing listens on at the moment."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], *, name: str, seconds: float = 20.0) -> None:
    """Wait until something listens.

    :raise RuntimeError: when the process ends before, or it takes too long.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode} while it was started")
        with socket.socket() as one:
            if one.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{name} does not listen after {seconds:.0f} s")


def stop(process: subprocess.Popen[bytes], seconds: float = 15.0) -> None:
    """End a server that was started in a process group of its own, by force when it doesn't end by itself."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
