"""Writes a scanned archive to a fresh directory, by the system's tar or, where there is none, by Python's.

tar writes 50 to 70 thousand files a second, Python a sixth of that. Neither keeps owners or set-id bits, and neither
sees anything that the scanner has not let through.
"""

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from cachew.client.clienterrors import ExtractionFailed, full_disk, tar_failed
from cachew.client.tarscan import TarScanner

PIPE = 1024 * 1024
_GATHERED = PIPE // 4
_COMPLAINTS = 16 * 1024
"""The bytes of tar's complaints that are looked at."""
_NAMES, _MAKES = ("tar", "gtar", "bsdtar"), (b"GNU tar", b"bsdtar")
_PROGRAM = 4 * 1024 * 1024
"""No program for tar alone is longer; what is may be many in one."""


class Unpacker(Protocol):
    """Something that a tar stream is written to."""

    def write(self, data: bytes) -> None:
        """Take a piece of the stream.

        :raise ExtractionFailed: when it cannot be written.
        """

    def finish(self) -> None:
        """Wait until everything is written.

        :raise ExtractionFailed: when something could not be written.
        """

    def abort(self) -> None:
        """Stop; nothing is running afterwards. May be called more than once."""


Unpack = Callable[[Path], Unpacker]
"""Starts an unpacker for a directory that exists and is empty."""


def extract(content: Iterable[Sequence[bytes | memoryview]], *, scanner: TarScanner, unpacker: Unpacker) -> None:
    """Extract a tar archive.

    :param content: the archive, decompressed: pieces that are good until the next but one are asked for.
    :raise ArchiveRefused: when the scanner's rules refuse it.
    :raise ExtractionFailed: when it cannot be written.
    """
    try:
        for pieces in content:
            for some in _gathered(scanner.feed(*pieces)):
                unpacker.write(some)
        unpacker.write(scanner.finish())
        unpacker.finish()
    except BaseException:
        unpacker.abort()
        raise


def _gathered(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """Join small pieces, but none for long: whoever extracts shall have something to do meanwhile."""
    gathered: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size >= _GATHERED:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)


class SystemTar:
    """The system's tar as a child process.

    :param program: its path.
    :param directory: where it extracts.
    :param exact_modes: whether permissions are kept as archived instead of cut by the umask.
    """

    def __init__(self, program: str, directory: Path, *, exact_modes: bool) -> None:
        self._stderr = _nameless_file()
        permissions = "-p" if exact_modes else "--no-same-permissions"
        self._child = subprocess.Popen(
            [program, "-x", "-f", "-", "-b", "512", "--no-same-owner", permissions, "-C", os.fspath(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            env={"LC_ALL": "C", "PATH": os.defpath},
            bufsize=0,
        )
        assert self._child.stdin is not None
        self._stdin = self._child.stdin
        widen(self._stdin.fileno())

    def write(self, data: bytes) -> None:
        """Write to tar's standard input, unless it has said that the disk is full; it would go on with other files."""
        if full_disk(said := self._said()):
            raise tar_failed(None, said)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._stdin.fileno(), view) :]
        except BrokenPipeError:
            self.finish()
            raise ExtractionFailed("tar stopped in the middle of the archive") from None

    def finish(self) -> None:
        """Close its input and wait for it."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        code = self._child.wait()
        if code:
            raise tar_failed(code, self._said())
        self._stderr.close()

    def _said(self) -> str:
        # Read without seeking: tar writes at the same offset.
        return os.pread(self._stderr.fileno(), _COMPLAINTS, 0).decode("utf-8", "replace")

    def abort(self) -> None:
        """Kill it and wait for it."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self._stdin.close()
        self._stderr.close()


def choose_unpacker(tar: str | None, *, exact_modes: bool) -> Unpack:
    """Return the way to extract on this machine.

    :param tar: the path of the system's tar, None when there is none.
    """

    def unpack(directory: Path) -> Unpacker:
        if tar is not None and _takes_our_options(tar):
            return SystemTar(tar, directory, exact_modes=exact_modes)
        from cachew.client.pythontar import PythonTar  # whose tarfile hardly anybody needs

        source, sink = os.pipe()
        widen(sink)
        return PythonTar(directory, (source, sink), exact_modes=exact_modes)

    return unpack


def folds_case(directory: Path) -> bool:
    """Tell whether the file system of an existing, writable directory takes ``A`` and ``a`` for one name."""
    number = os.urandom(6).hex()
    probe = directory / f"case-{number}-x"
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        return (directory / f"CASE-{number}-X").exists()
    finally:
        probe.unlink()


def _nameless_file() -> BinaryIO:
    """Return a file for a child to write into; in memory where the system has such files, and of a few words."""
    with contextlib.suppress(AttributeError, OSError):
        return os.fdopen(os.memfd_create("said"), "w+b")
    import tempfile

    return cast(BinaryIO, tempfile.TemporaryFile())


def _takes_our_options(tar: str) -> bool:
    """Tell whether it is GNU's or BSD's, from what the program holds: asking it takes twenty times as long."""
    try:
        with open(tar, "rb") as file:
            held = file.read(_PROGRAM)
        if os.path.basename(os.path.realpath(tar)) not in _NAMES or not any(one in held for one in _MAKES):
            held = subprocess.run([tar, "--version"], capture_output=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    return any(one in held for one in _MAKES)


def widen(descriptor: int) -> None:
    """Let a pipe hold more."""
    # Linux only: fewer switches between the two processes.
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE)
