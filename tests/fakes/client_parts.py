"""The client's parts as its tests see them."""

from dataclasses import dataclass, field

from cachew.client.archives import Archives
from cachew.client.download import Downloads
from cachew.client.gitcommand import Git
from cachew.client.http import Http
from cachew.client.restore import GitRestore
from tests.fakes.cachew_server import CachewServer


class Silence:
    """Nobody watches."""

    def begin(self, label: str, total: int | None) -> None:
        """Ignore it."""

    def advance(self, count: int) -> None:
        """Ignore it."""

    def finish(self) -> None:
        """Ignore it."""

    def say(self, text: str) -> None:
        """Ignore it."""

    def warn(self, text: str) -> None:
        """Ignore it."""


@dataclass
class Watcher(Silence):
    """Keeps what was said."""

    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    count: int = 0

    def begin(self, label: str, total: int | None) -> None:
        self.count = 0

    def advance(self, count: int) -> None:
        self.count += count

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)


@dataclass
class Parts:
    """The client's parts for one server.

    :param environ: what git sees of the user's environment.
    """

    server: CachewServer
    http: Http
    progress: Watcher
    pauses: list[float]
    downloads: Downloads
    archives: Archives
    git: Git
    restore: GitRestore
    environ: dict[str, str]
