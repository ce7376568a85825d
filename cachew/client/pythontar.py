"""Extracts with Python's tarfile where there is no tar that takes our options."""

import os
import tarfile
import threading
from pathlib import Path
from typing import Any

from cachew.client.clienterrors import ExtractionFailed, no_space_advice

_PIECE = 1024 * 1024
# Debian 12's Python has no filters yet, and later ones must be told not to use any.
_TRUSTED: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}


class PythonTar:
    """Python's tarfile in a thread, fed through a pipe.

    :param directory: where it extracts.
    :param pipe: the two ends of the pipe, to read from and to write to; both are closed in the end.
    :param exact_modes: whether permissions are kept as archived instead of cut by the umask.
    """

    def __init__(self, directory: Path, pipe: tuple[int, int], *, exact_modes: bool) -> None:
        self._directory = directory
        self._exact_modes = exact_modes
        self._failure: Exception | None = None
        source, self._sink = pipe
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
            raise ExtractionFailed(f"cannot extract: {self._failure}", no_space_advice(str(self._failure)))

    def abort(self) -> None:
        """Close the pipe, which ends the thread."""
        if self._sink != -1:
            os.close(self._sink)
            self._sink = -1
        self._thread.join()

    def _run(self, source: int) -> None:
        try:
            with os.fdopen(source, "rb") as file, _Ownerless.open(fileobj=file, mode="r|", bufsize=_PIECE) as archive:
                # Links were judged by the scanner; tarfile's stricter filters refuse links that real trees contain.
                archive.extractall(self._directory, map(self._permitted, archive), **_TRUSTED)
                while file.read(_PIECE):
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
