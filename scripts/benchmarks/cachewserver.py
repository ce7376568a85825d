"""The server that is measured: ``twistd cachew`` from this checkout, with a config of its own."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from scripts.benchmarks import ports, proc
from scripts.benchmarks.cgroup import ControlGroup, make_group

ROOT = Path(__file__).resolve().parents[2]
HOST = "git.example"
_CONFIG = """\
state = "{state}"
listen = ["tcp:{port}:interface=127.0.0.1:backlog=1024"]
log-level = "info"
[upstreams."{host}"]
url = "{upstream}"
[git]
snapshot-interval = "0s"
mirror-snapshot-interval = "0s"
{git}[access]
mode = "trusted-network"
trust-loopback = true
"""
_PATIENCE = 300.0
_ASKED = 10


def config(*, state: Path, port: int, upstream: str, more: str = "", git: str = "") -> str:
    """Return the config.

    :param state: the state directory.
    :param upstream: base URL of the upstream.
    :param more: further tables.
    :param git: further lines of the table ``[git]``.
    """
    return _CONFIG.format(state=state, port=port, host=HOST, upstream=upstream, git=git) + more


@dataclass(frozen=True)
class Turns:
    """Turns of a reactor.

    :param within: how many were late by at most so many seconds; the last is infinite.
    """

    within: Mapping[float, int]

    def since(self, before: "Turns") -> "Turns":
        """Return those that were not yet among earlier ones."""
        return Turns({bound: count - before.within[bound] for bound, count in self.within.items()})

    def later_than(self, seconds: float) -> int:
        """Return how many were later than one of the bounds."""
        return self.within[float("inf")] - self.within[seconds]

    @property
    def latest(self) -> float:
        """A bound of the latest one, in seconds."""
        return min(bound for bound, count in self.within.items() if count == self.within[float("inf")])


class Cachew:
    """A context in which cachew serves.

    :param directory: for its state and log; made here.
    :param upstream: base URL of the upstream on loopback.
    :param more: further tables of the config.
    :param git: further lines of its table ``[git]``.
    :param settle: seconds without any child after which a new mirror counts as finished.
    :param prepare: puts something into its state directory before it is started.
    :ivar seconds_until_ready: how long its start took.
    :ivar cpu_until_ready: what CPU that took.
    """

    name = "cachew"

    def __init__(
        self,
        *,
        directory: Path,
        upstream: str,
        more: str = "",
        git: str = "",
        settle: float = 3.0,
        prepare: Callable[[Path], object] = lambda state: None,
    ) -> None:
        self._directory, self._upstream, self._settle = directory, upstream, settle
        self._more, self._git = more, git
        self._process: subprocess.Popen[bytes] | None = None
        self._group = ControlGroup(None)
        self._prepare = prepare
        self.port = 0
        self.seconds_until_ready = self.cpu_until_ready = 0.0

    @property
    def roots(self) -> tuple[int, ...]:
        """The process it consists of."""
        assert self._process is not None
        return (self._process.pid,)

    def cpu(self) -> float:
        """Return the CPU seconds that it and its children have used so far."""
        return self._group.cpu()

    @property
    def address(self) -> str:
        """Its base URL, without a slash at the end."""
        return f"http://{ports.HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """Its log."""
        return self._directory / "cachew.log"

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self._directory / "state"

    def base(self, repository: str) -> str:
        """Return a repository's path."""
        return f"/git/{HOST}/{repository}"

    def url(self, repository: str) -> str:
        """Return a repository's address."""
        return f"{self.address}{self.base(repository)}"

    def __enter__(self) -> "Cachew":
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        self._group = make_group(self._directory.name)
        self.port = ports.free_port()
        file = self._directory / "cachew.toml"
        self._prepare(self.state)
        file.write_text(
            config(state=self.state, port=self.port, upstream=self._upstream, more=self._more, git=self._git)
        )
        command = [str(ROOT / ".venv/bin/twistd"), "-n", "--pidfile=", "cachew", "--config", str(file)]
        begin = time.monotonic()
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                self._group.command(*command),
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            ports.wait_for(self.port, self._process, name=f"cachew (its log is {self.log})")
            self._wait(self._is_ready, "cachew is not ready", every=0.1)
            self.seconds_until_ready, self.cpu_until_ready = time.monotonic() - begin, self.cpu()
        except BaseException:
            ports.stop(self._process)
            self._group.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        ports.stop(self._process, seconds=45)
        self._group.remove()

    def mirror(self, repository: str) -> None:
        """Have a repository mirrored and wait until nothing is done for it any more.

        :raise RuntimeError: when it doesn't come about.
        """
        self._ask(f"{self.base(repository)}/info/refs?service=git-upload-pack")
        name = f"{HOST}/{repository}"
        self._wait(lambda: self._state(name) == "ready", f"{name} is not mirrored")
        # A new mirror is soon due for a repack, which would be taken for a cost of what is measured.
        quiet_since = time.monotonic()
        while time.monotonic() < quiet_since + self._settle:
            self.wait_until_idle()
            if len(proc.tree(self.roots[0])) > 1:
                quiet_since = time.monotonic()
            time.sleep(0.05)

    def ready_count(self) -> int:
        """Return how many mirrors are ready."""
        return sum(one["state"] == "ready" for one in self._json("/admin/repositories")["repositories"])

    def look(self) -> None:
        """Look at the dashboard."""
        self._ask("/admin/")

    def wait_until_idle(self) -> int:
        """Wait until no work goes on in the background; return how often the server was asked."""
        answers: list[bool] = []

        def is_idle() -> bool:
            answers.append(not self._json("/admin/overview")["work"])
            return answers[-1]

        self._wait(is_idle, "there is work without end")
        return len(answers)

    def cost_of_asking(self) -> float:
        """Return the CPU seconds that it takes an idle server to say that it is idle."""
        before, asked = self.cpu(), sum(self.wait_until_idle() for _ in range(_ASKED))
        return (self.cpu() - before) / asked

    def wait_for_bundles(self, repository: str) -> None:
        """Ask for a repository's bundle list until there is one."""
        self._wait(lambda: self._is_there(f"{self.base(repository)}/bundle-list"), "there are no bundles")

    def act(self, repository: str, action: str) -> None:
        """Begin an action of the dashboard's."""
        self._ask(f"/admin/repositories/{HOST}/{repository}/{action}", method="POST")

    def turns(self) -> "Turns":
        """Return how often the reactor has looked at what is due, and how late it was by the server's own doing."""
        families = text_string_to_metric_families(self._ask("/metrics").decode())
        samples = next(one.samples for one in families if one.name == "cachew_reactor_lag_seconds")
        own = [sample for sample in samples if sample.labels["cause"] == "server" and "le" in sample.labels]
        return Turns({float(sample.labels["le"]): int(sample.value) for sample in own})

    def _is_ready(self) -> bool:
        return self._is_there("/_readiness")

    def _is_there(self, path: str) -> bool:
        try:
            return bool(self._ask(path))
        except urllib.error.HTTPError:
            return False

    def _state(self, name: str) -> str:
        found = self._json("/admin/repositories")["repositories"]
        return next((str(one["state"]) for one in found if one["name"] == name), "")

    def _wait(self, condition: Any, otherwise: str, *, every: float = 0.02) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{otherwise} after {_PATIENCE:.0f} s; the log is {self.log}")
            time.sleep(every)

    def _json(self, path: str) -> Any:
        return json.loads(self._ask(path))

    def _ask(self, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(f"{self.address}{path}", method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            body: bytes = answer.read()
        return body
