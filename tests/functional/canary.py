"""The canary: a mark in every credential of the functional tests, looked for wherever a server could have left one.

Every test is watched (the fixture ``canary``), so that what is searched in the end is all that the whole suite leaves:
the log of every server, as text and as JSON, the command lines of all processes, every file below every state directory
with archives unpacked, and the metrics.
"""

import contextlib
import io
import threading
from base64 import b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path

import zstandard
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from cachew.plumbing.logs import json_line, text_line
from tests.cleanliness import children_of

MARK = "zk7canary3q"
_PIECE = 4 * 1024 * 1024
_ARCHIVE = b"\x28\xb5\x2f\xfd"
_CLIENT = b"\0GIT_AUTHOR_NAME="
"""What only the environment of a user's own git has."""
_INTERVAL = 0.05


def marked(password: str) -> str:
    """Return a password that the canary finds wherever it is written down."""
    return password if MARK in password else f"{password}-{MARK}"


def needles(secret: bytes) -> list[bytes]:
    """Return a secret as it is, and what of its Base64 form is the same whatever stands before and after it."""
    forms = [secret]
    for before in range(3):
        encoded = b64encode(bytes(before) + secret)
        forms.append(encoded[-(-8 * before // 6) : 8 * (before + len(secret)) // 6])
    return forms


NEEDLES = needles(MARK.encode())


def found_in(name: str, *texts: bytes, of: Iterable[bytes] = NEEDLES) -> list[str]:
    """Return a line for each secret in some texts."""
    return [f"{secret!r} is in {name}" for secret in of for text in texts if secret in text]


def pieces(path: Path) -> Iterator[bytes]:
    """Yield a file as it is, and unpacked if it is an archive, in pieces that overlap a little."""
    with path.open("rb") as file:
        yield from _overlapping(file)
        file.seek(0)
        if file.read(4) == _ARCHIVE:
            file.seek(0)
            with contextlib.suppress(zstandard.ZstdError):  # what comes after the archive in the same file
                yield from _overlapping(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))


def _overlapping(file: io.BufferedReader | zstandard.ZstdDecompressionReader) -> Iterator[bytes]:
    last = b""
    while piece := file.read(_PIECE):
        yield last + piece
        last = piece[-100:]


def states(place: Path) -> list[Path]:
    """Return the state directories of the servers that have run with theirs below a directory."""
    return [token.parent for token in place.rglob("admin-token")]


def search_state(state: Path) -> list[str]:
    """Look for credentials and the server's own admin token in everything below its state directory."""
    token = state / "admin-token"
    secrets = [*NEEDLES, *needles(token.read_bytes().strip())]
    files = [path for path in state.rglob("*") if path.is_file() and not path.is_symlink() and path != token]
    return [line for path in files for piece in pieces(path) for line in found_in(str(path), piece, of=secrets)]


@implementer(ILogObserver)
class Said:
    """All that servers have said of themselves: what they log here, and what processes of their own have written."""

    def __init__(self) -> None:
        self._texts: list[bytes] = []

    def __call__(self, event: LogEvent) -> None:
        """Take an event from the publisher."""
        self._texts += [text_line(event).encode(errors="replace"), json_line(event).encode(errors="replace")]

    def add(self, text: bytes) -> None:
        """Add what another process has written, or a server answers its operator."""
        self._texts.append(text)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to the log."""
        self._texts.clear()
        globalLogPublisher.addObserver(self)
        try:
            yield
        finally:
            globalLogPublisher.removeObserver(self)

    def whole(self) -> bytes:
        """Return all of it."""
        return b"".join(self._texts)


said = Said()
"""Servers of one test run, one after the other, have one log."""


class CommandLines(threading.Thread):
    """Samples the command lines of all processes that come from this one, and keeps those that hold a secret.

    What users' own git shows on its command line is their affair.

    :param secrets: what is looked for.
    """

    def __init__(self, secrets: Iterable[bytes] = NEEDLES) -> None:
        super().__init__(name="canary", daemon=True)
        self._secrets = list(secrets)
        self._enough = threading.Event()
        self.samples = 0
        self.found: set[bytes] = set()
        self.seen = threading.Event()

    def run(self) -> None:
        """Sample until told otherwise."""
        while not self._enough.wait(_INTERVAL):
            for process in _descendants("self"):
                self._look(process)

    def stop(self) -> None:
        """Sample no more."""
        self._enough.set()
        self.join()

    def _look(self, process: int) -> None:
        with contextlib.suppress(OSError):
            # One that begins a program has no environment for a moment, and one that has ended has none any more.
            before = Path(f"/proc/{process}/environ").read_bytes()
            words = Path(f"/proc/{process}/cmdline").read_bytes()
            self.samples += bool(words)
            if _CLIENT not in b"\0" + before and found_in("", words, of=self._secrets):
                after = Path(f"/proc/{process}/environ").read_bytes()
                if _CLIENT not in b"\0" + after:
                    self.found.add(words)
                    self.seen.set()


def _descendants(process: int | str) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for child in children_of(process):
            yield child
            yield from _descendants(child)
