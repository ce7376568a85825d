"""The client's parts as its tests see them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from cachew.client.archives import Archives
from cachew.client.download import Downloads
from cachew.client.gitcommand import Git
from cachew.client.http import Http
from cachew.client.restore import GitRestore
from tests.fakes.cachew_server import CachewServer


class Arriving:
    """An object on its way to a client.

    :param pieces: what comes of it.
    :param fails: what it breaks off with then, None when that is all.
    :param headers: what the server says of it, ``_`` for ``-``.
    """

    def __init__(self, *pieces: bytes, fails: Exception | None = None, **headers: str) -> None:
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self._pieces, self._fails = pieces, fails
        self.closed = False

    def pieces(self) -> Iterator[bytes]:
        """Bring it."""
        yield from self._pieces
        if self._fails is not None:
            raise self._fails

    def close(self) -> None:
        """Note that nobody wants more of it."""
        self.closed = True


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
