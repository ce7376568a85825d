"""Writes a scanned archive to a fresh directory, by the system's tar or, where there is none, by Python's.

tar writes 50 to 70 thousand files a second, Python a sixth of that. Neither keeps owners or set-id bits, and neither
sees anything that the scanner has not let through.
"""

import contextlib
import fcntl
import os
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from cachew.client.errors import ExtractionFailed
from cachew.client.tarscan import TarScanner

_PIPE = 1024 * 1024
# Debian 12's Python has no filters yet, and later ones must be told not to use any.
_TRUSTED: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}


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
        """Stop; nothing is running afterwards."""


Unpack = Callable[[Path], Unpacker]
"""Starts an unpacker for a directory that exists and is empty."""


def extract(content: Iterable[bytes], *, scanner: TarScanner, unpacker: Unpacker) -> None:
    """Extract a tar archive.

    :param content: the archive, decompressed.
    :raise ArchiveRefused: when the scanner's rules refuse it.
    :raise ExtractionFailed: when it cannot be written.
    """
    try:
        for piece in content:
            unpacker.write(b"".join(scanner.feed(piece)))
        unpacker.write(scanner.finish())
        unpacker.finish()
    except BaseException:
        unpacker.abort()
        raise


class SystemTar:
    """The system's tar as a child process.

    :param program: its path.
    :param directory: where it extracts.
    :param exact_modes: whether permissions are kept as archived instead of cut by the umask.
    """

    def __init__(self, program: str, directory: Path, *, exact_modes: bool) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the child)
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
        _widen(self._stdin.fileno())

    def write(self, data: bytes) -> None:
        """Write to tar's standard input."""
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
            self._stderr.seek(max(0, os.fstat(self._stderr.fileno()).st_size - 2000))
            said = self._stderr.read().decode("utf-8", "replace").strip()
            raise ExtractionFailed(f"tar failed (exit {code}): {said}", _advice(said))
        self._stderr.close()

    def abort(self) -> None:
        """Kill it and wait for it."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self._stdin.close()
        self._stderr.close()


class PythonTar:
    """Python's tarfile in a thread, fed through a pipe.

    :param directory: where it extracts.
    :param exact_modes: whether permissions are kept as archived instead of cut by the umask.
    """

    def __init__(self, directory: Path, *, exact_modes: bool) -> None:
        self._directory = directory
        self._exact_modes = exact_modes
        self._failure: Exception | None = None
        source, self._sink = os.pipe()
        _widen(self._sink)
        self._thread = threading.Thread(target=self._run, args=(source,), name="extract", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Write to the pipe."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._sink, view) :]
        except BrokenPipeError:
            self.finish()
            raise ExtractionFailed("extraction stopped in the middle of the archive") from None

    def finish(self) -> None:
        """Close the pipe and wait for the thread."""
        self.abort()
        if self._failure is not None:
            raise ExtractionFailed(f"cannot extract: {self._failure}", _advice(str(self._failure)))

    def abort(self) -> None:
        """Close the pipe, which ends the thread."""
        if self._sink != -1:
            os.close(self._sink)
            self._sink = -1
        self._thread.join()

    def _run(self, source: int) -> None:
        try:
            with os.fdopen(source, "rb") as file, _Ownerless.open(fileobj=file, mode="r|", bufsize=_PIPE) as archive:
                # Links were judged by the scanner; tarfile's stricter filters refuse links that real trees contain.
                archive.extractall(self._directory, map(self._permitted, archive), **_TRUSTED)
                while file.read(_PIPE):
                    pass
        except Exception as error:  # whatever it is, the writing side reports it
            self._failure = error

    def _permitted(self, member: tarfile.TarInfo) -> tarfile.TarInfo:
        if not self._exact_modes:
            member.mode &= 0o755
        return member


class _Ownerless(tarfile.TarFile):
    """Gives nobody's files to anybody, and leaves to a hard link's target what is its own."""

    def chown(self, tarinfo: tarfile.TarInfo, targetpath: Any, numeric_owner: bool) -> None:
        """Keep the owner who extracts."""

    def chmod(self, tarinfo: tarfile.TarInfo, targetpath: Any) -> None:
        """Set the mode, but through no hard link."""
        if not tarinfo.islnk():
            super().chmod(tarinfo, targetpath)

    def utime(self, tarinfo: tarfile.TarInfo, targetpath: Any) -> None:
        """Set the time, but through no hard link."""
        if not tarinfo.islnk():
            super().utime(tarinfo, targetpath)


def choose_unpacker(tar: str | None, *, exact_modes: bool) -> Unpack:
    """Return the way to extract on this machine.

    :param tar: the path of the system's tar, None when there is none.
    """
    if tar is None or not _takes_our_options(tar):
        return lambda directory: PythonTar(directory, exact_modes=exact_modes)
    return lambda directory: SystemTar(tar, directory, exact_modes=exact_modes)


def folds_case(directory: Path) -> bool:
    """Tell whether the file system of an existing, writable directory takes ``A`` and ``a`` for one name."""
    with tempfile.NamedTemporaryFile(dir=directory, prefix="case-", suffix="-x") as probe:
        path = Path(probe.name)
        return (path.parent / path.name.replace("case-", "CASE-").replace("-x", "-X")).exists()


def _takes_our_options(tar: str) -> bool:
    try:
        version = subprocess.run([tar, "--version"], capture_output=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"GNU tar" in version or b"bsdtar" in version


def _widen(descriptor: int) -> None:
    # Linux only: fewer switches between the two processes.
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE)


def _advice(said: str) -> str:
    return "Free some space and run the command again." if "No space left" in said else ""
