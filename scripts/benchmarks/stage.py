"""The stage on which scenarios play: repositories, the peer, the upstream, and the server that is measured."""

import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks import ports
from scripts.benchmarks.cachewserver import Cachew
from scripts.benchmarks.connection import Visit
from scripts.benchmarks.exchange import Exchange, is_fetch, made_new
from scripts.benchmarks.figures import Series
from scripts.benchmarks.history import Shape
from scripts.benchmarks.load import Plan, Result, run
from scripts.benchmarks.nginxgit import NginxGit
from scripts.benchmarks.recorder import Recorder
from scripts.benchmarks.repositories import Repository, adopt, git, make
from scripts.benchmarks.watch import Watch

Server = Cachew | NginxGit


@dataclass(frozen=True)
class Options:
    """What the command line says.

    :param work: directory for repositories, servers and results.
    :param shapes: of the generated repositories.
    :param given: a repository of the user's, to be measured instead of the generated ones.
    :param quick: whether this is a smoke run.
    """

    work: Path
    shapes: Mapping[str, Shape]
    given: Path | None
    quick: bool

    def rounds(self, full: int) -> int:
        """Return how often to run something that is run so often in a full run."""
        return 1 if self.quick else full


class Stage:
    """A context in which everything serves.

    :param more: further tables of cachew's config.
    :param git: further lines of its table ``[git]``.
    """

    def __init__(self, options: Options, more: str = "", git: str = "") -> None:
        self.options = options
        self.work = options.work
        self.files = options.work / "files"
        self._root = options.work / "repositories"
        self._stack = ExitStack()
        self._random = random.Random()
        self.peer = NginxGit(directory=self.work / "peer", root=self._root, files=self.files)
        self.upstream = NginxGit(directory=self.work / "upstream", root=self._root, files=self.files)
        self._more, self._git = more, git
        self.cachew: Cachew

    @property
    def root(self) -> Path:
        """Where the served repositories are."""
        return self._root

    @property
    def servers(self) -> tuple[Server, Server]:
        """The server that is measured, and its peer."""
        return self.cachew, self.peer

    def __enter__(self) -> "Stage":
        with ExitStack() as stack:
            stack.enter_context(self.peer)
            stack.enter_context(self.upstream)
            upstream = f"http://{ports.HOST}:{self.upstream.port}/"
            settle = 0.3 if self.options.quick else 3.0
            self.cachew = Cachew(
                directory=self.work / "cachew", upstream=upstream, more=self._more, git=self._git, settle=settle
            )
            stack.enter_context(self.cachew)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    def repository(self, name: str, *, given: bool = False) -> Repository:
        """Return a repository, made when need be and mirrored by cachew.

        :param given: whether the user's takes its place.
        """
        if given and self.options.given is not None:
            say(f"copying {self.options.given}")
            found = adopt(self._root, self.options.given)
        else:
            say(f"repository {name}")
            found = make(self._root, name, self.options.shapes[name])
        self.cachew.mirror(found.name)
        return found

    def record(self, repository: Repository, *command: str) -> list[Exchange]:
        """Return what git asks the peer for.

        :param command: git's arguments, in which ``URL`` stands for the repository and ``DIR`` for a new directory.
        """
        with tempfile.TemporaryDirectory(dir=self.work) as directory:
            with Recorder(self.peer.port, self.peer.base(repository.name)) as recorder:
                words = {"URL": recorder.url, "DIR": f"{directory}/clone"}
                git(*(words.get(word, word) for word in command))
            return recorder.exchanges

    def visit(self, server: Server, repository: Repository, exchanges: Sequence[Exchange], *, size: int = 0) -> Visit:
        """Return recorded exchanges as a client's visit to a server.

        :param size: bytes of the last answer when it was checked; others may differ a little.
        """
        address = f"{ports.HOST}:{server.port}"
        base = server.base(repository.name)
        requests = [
            one.render(address=address, base=base, last=number == len(exchanges))
            for number, one in enumerate(exchanges, 1)
        ]
        return Visit(ports.HOST, server.port, tuple(requests), least=size * 7 // 10, skip=size * 6 // 10, end=b"0000")

    def never_seen(self, exchanges: Sequence[Exchange]) -> list[Exchange]:
        """Return equivalent exchanges that no cache has an answer to."""
        oid = f"{self._random.getrandbits(160):040x}"
        return [made_new(one, oid) if is_fetch(one) else one for one in exchanges]

    def compare(
        self, scenario: str, plan: Callable[[Server], Plan], *, rounds: int, servers: Sequence[Server] = ()
    ) -> list[Series]:
        """Run a plan against the servers, by turns.

        :param plan: returns the plan for a server, anew for each run.
        :param rounds: runs of each.
        """
        series = {server: Series(server.name) for server in servers or self.servers}
        for number in range(rounds):
            order = list(series)
            for server in order if number % 2 else reversed(order):
                say(f"{scenario}: {server.name}, run {number + 1} of {rounds}")
                self.measure(server, plan(server), series[server])
        return list(series.values())

    def measure(self, server: Server, plan: Plan, series: Series) -> tuple[Result, Watch]:
        """Run a plan against a server once and note how it went."""
        asked = self.upstream.requests()
        with Watch(server.roots, server.cpu) as watch:
            result = run(plan)
        series.walls.append(result.wall)
        series.cpus.append(watch.cpu)
        series.peaks.append(watch.peak)
        series.latencies += result.latencies
        series.received.append(result.received)
        series.upstream.append(self.upstream.requests() - asked)
        series.upload_packs.append(len(watch.upload_packs))
        series.failures += result.failures[:5]
        return result, watch


def say(text: str) -> None:
    """Tell what is being done."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)
