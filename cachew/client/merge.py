"""Restores a saved directory: into staging first, then merged into the target without following any link there."""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from cachew.client.archiverules import DirectoryRules
from cachew.client.archives import Archives
from cachew.client.clienterrors import ExtractionFailed
from cachew.client.extract import Unpack, folds_case
from cachew.client.staging import Staging, resolved


class DirectoryRestore:
    """Restores saved directories.

    :param archives: fetches and extracts archives.
    :param unpack: how archives are extracted.
    """

    def __init__(self, *, archives: Archives, unpack: Unpack) -> None:
        self._archives = archives
        self._unpack = unpack

    def restore(self, url: str, directory: Path) -> None:
        """Restore a directory; files that are there already are replaced, others left alone.

        :raise NotCached: when there is no such archive.
        :raise ClientError: when it cannot be had or written; until everything is extracted the target is untouched.
        """
        target = resolved(directory)
        opened = writable(os.fsencode(target)) if target.is_dir() else contextlib.nullcontext()
        with opened, Staging(target=target, within=target.is_dir()) as staging:
            rules: list[DirectoryRules] = []

            def fresh_rules() -> DirectoryRules:
                rules.append(DirectoryRules(folds_case=folds_case(staging.path("."))))
                return rules[-1]

            self._archives.fetch(
                url, unpack=self._unpack, rules=fresh_rules, fresh_directory=lambda: staging.fresh("tree")
            )
            try:
                target.mkdir(exist_ok=True)
                merge(staging.path("tree"), target, closed=rules[-1].closed_directories)
            except OSError as error:
                raise ExtractionFailed(
                    f"cannot write {error.filename or target}: {error.strerror}", "Restore to another directory."
                ) from error


def merge(source: Path, target: Path, *, closed: Mapping[bytes, int]) -> None:
    """Move everything from one directory into another on the same file system.

    :param closed: paths of directories that get these permissions at the end.
    """
    _merge(os.fsencode(source), os.fsencode(target))
    root = os.fsencode(target) + b"/"
    for path in sorted(closed, reverse=True):
        if not os.path.islink(root + path):
            os.chmod(root + path, closed[path])


def _merge(source: bytes, target: bytes) -> None:
    with writable(target):
        for name in os.listdir(source):
            _place(os.path.join(source, name), os.path.join(target, name))


def _place(source: bytes, target: bytes) -> None:
    is_directory = _is_directory(source)
    if is_directory and _is_directory(target):
        mode = stat.S_IMODE(os.lstat(source).st_mode)
        _merge(source, target)
        os.chmod(target, mode)
        return
    if is_directory and os.path.lexists(target):
        os.unlink(target)
    elif not is_directory and _is_directory(target):
        os.rmdir(target)
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # something is mounted below the target
            raise
        shutil.move(os.fsdecode(source), os.fsdecode(target))


def _is_directory(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def writable(directory: bytes) -> Iterator[None]:
    """Open a directory to its owner for as long as something is written into it."""
    mode = stat.S_IMODE(os.lstat(directory).st_mode)
    if mode & 0o300 != 0o300:
        os.chmod(directory, mode | 0o700)
    try:
        yield
    finally:
        if mode & 0o300 != 0o300:
            os.chmod(directory, mode)
