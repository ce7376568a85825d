"""A real S3-compatible store on loopback: SeaweedFS out of its wheel."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from scripts.benchmarks import ports

BUCKET = "cachew-bench"
ACCESS_KEY, SECRET_KEY = "bench", "bench-secret"
_PARTS = ("master", "volume", "filer", "s3", "admin")
_READY = b"All enabled components are running"


class SeaweedFS:
    """A context in which the store serves.

    :param directory: for its files; made here and removed at the end.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> "SeaweedFS":
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        numbers = {part: (ports.free_port(), ports.free_port()) for part in _PARTS}
        self.url = f"http://{ports.HOST}:{numbers['s3'][0]}"
        log = self._directory / "log"
        with open(log, "wb") as file:
            self._process = subprocess.Popen(
                self._command(numbers),
                cwd=self._directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while _READY not in log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                text = log.read_text(errors="replace")[-500:]
                ports.stop(self._process)
                raise RuntimeError(f"SeaweedFS does not start: {text}")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        ports.stop(self._process)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _command(self, numbers: dict[str, tuple[int, int]]) -> list[str]:
        flags = [f"-{part}.port={port}" for part, (port, _) in numbers.items()]
        flags += [f"-{part}.port.grpc={port}" for part, (_, port) in numbers.items()]
        home = self._directory
        return [
            str(Path(sys.executable).parent / "weed"),
            "mini",
            f"-dir={home}",
            f"-ip={ports.HOST}",
            f"-ip.bind={ports.HOST}",
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

    def _environment(self) -> dict[str, str]:
        home = str(self._directory)
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        return {"PATH": os.environ.get("PATH", os.defpath), "HOME": home, "TMPDIR": home, **keys}
