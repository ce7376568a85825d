"""A staging directory beside the target, so that a target is either whole or not there.

Its name says whose it is and a lock in it says whether that run still lives: what a killed run has left is removed by
the next run for the same target.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from cachew.client.clienterrors import BadUsage, ExtractionFailed, no_space_advice

_LOCK = "cachew-lock"
_LONGEST_NAME = 200


class Staging:
    """A place to make one directory in.

    :param target: the directory that is to be, absolute, its links resolved.
    :param within: make the staging directory inside the target, which exists, instead of beside it.
    """

    def __init__(self, *, target: Path, within: bool) -> None:
        self._target = target
        self._home = target if within else target.parent
        self._lock: int | None = None
        self._place = Path()
        self._new_parents: list[Path] = []

    def __enter__(self) -> "Staging":
        """Make the place, after removing what killed runs have left."""
        try:
            self._begin()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _begin(self) -> None:
        try:
            self._new_parents = [parent for parent in (self._home, *self._home.parents) if not parent.exists()]
            self._home.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self._target)
            self._make()
        except OSError as error:
            advice = no_space_advice(error.strerror or "") or "Choose a directory that you may write to."
            raise ExtractionFailed(f"cannot write to {self._home}: {error.strerror}", advice) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove whatever has not been moved out."""
        lock, self._lock = self._lock, None
        if lock is not None:
            try:
                _clear(self._place)
            finally:
                os.close(lock)
        elif self._place != Path():
            with contextlib.suppress(OSError):
                _clear(self._place)
        with contextlib.suppress(OSError):
            for parent in self._new_parents:
                parent.rmdir()

    def path(self, name: str) -> Path:
        """Return the path of something in the staging directory."""
        return self._place / name

    def fresh(self, name: str) -> Path:
        """Return a new, empty directory in the staging directory, removing an earlier one of that name."""
        directory = self._place / name
        remove_tree(directory)
        directory.mkdir()
        return directory

    def _make(self) -> None:
        while self._lock is None:
            self._place = self._home / f"{_prefix(self._target)}{os.urandom(6).hex()}"
            # Another run may take the still unlocked directory for a leftover; then make another.
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                self._place.mkdir(0o700)
                self._lock = _locked(self._place, os.O_CREAT)


def check_target(directory: Path) -> Path:
    """Return where a directory is to be, its links resolved.

    :raise BadUsage: when something else is there.
    """
    target = resolved(directory)
    if not target.exists():
        return target
    if not target.is_dir():
        raise BadUsage(f"{directory} exists and is not a directory", "Choose another directory.")
    return target


def resolved(directory: Path) -> Path:
    """Return a path that is absolute and has no links.

    :raise BadUsage: when it leads nowhere.
    """
    try:
        target = Path(os.path.realpath(directory))
    except FileNotFoundError:
        raise BadUsage("the current directory has been removed", "Go to another one.") from None
    if target.is_symlink():
        raise BadUsage(f"{directory} is a link that leads to itself", "Choose another directory.")
    return target


def has_content(target: Path) -> bool:
    """Say whether there is a directory with anything but what killed runs have left."""
    return target.is_dir() and any(not _is_staging(name, target) for name in os.listdir(target))


def publish(made: Path, target: Path) -> None:
    """Move a finished directory to its place in one step, or into an empty directory entry by entry.

    :raise ExtractionFailed: when something has appeared there meanwhile; the target is then as it was.
    """
    try:
        if not target.is_dir():
            made.rename(target)
            return
        _move_entries(made, target)
    except OSError as error:
        raise ExtractionFailed(f"cannot move the finished directory to {target}: {error.strerror}") from error


def remove_leftovers(target: Path) -> None:
    """Remove the staging directories of runs for this target that were killed."""
    for home in (target.parent, target):
        for place in _staging_directories(home, target):
            with contextlib.suppress(OSError):
                if not os.listdir(place):
                    place.rmdir()
                    continue
                lock = _locked(place)
                if lock is not None:
                    try:
                        _clear(place)
                    finally:
                        os.close(lock)


def remove_tree(path: Path) -> None:
    """Remove a directory that may not be there; every directory in it is open to its owner."""
    if path != Path() and path.exists():
        import shutil  # which those need not wait for who leave nothing

        shutil.rmtree(path, onerror=_open_and_retry)


def _clear(place: Path) -> None:
    """Remove a staging directory, its lock last: what is left when that is broken off is known for a leftover."""
    if not place.exists():
        return
    for name in os.listdir(place):
        path = place / name
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        elif name != _LOCK:
            path.unlink()
    (place / _LOCK).unlink(missing_ok=True)
    place.rmdir()


def _open_and_retry(function: Callable[[str], object], path: str, error: object) -> None:
    """Remove what is in a directory that its owner has closed: a checkout that was replaced may have such ones."""
    os.chmod(os.path.dirname(path), 0o700)
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil

        os.chmod(path, 0o700)
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _move_entries(made: Path, target: Path) -> None:
    # .git comes last: until then nothing takes the directory for a repository.
    moved: list[str] = []
    try:
        for name in sorted(os.listdir(made), key=lambda name: (name == ".git", name)):
            if os.path.lexists(target / name):
                raise FileExistsError(17, f"{name} is there already")
            os.rename(made / name, target / name)
            moved.append(name)
    except OSError:
        for name in moved:
            os.rename(target / name, made / name)
        raise


def _prefix(target: Path) -> str:
    name = os.fsencode(target.name)
    if len(name) > _LONGEST_NAME:
        # It would be too long with what comes before and after.
        return f".{hashlib.sha256(name).hexdigest()}.cachew-"
    return f".{target.name}.cachew-"


def _is_staging(name: str, target: Path) -> bool:
    return name.startswith(_prefix(target))


def _staging_directories(home: Path, target: Path) -> Iterator[Path]:
    if home.is_dir():
        yield from [home / name for name in os.listdir(home) if _is_staging(name, target)]


def _locked(place: Path, flags: int = 0) -> int | None:
    try:
        lock = os.open(place / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    except FileNotFoundError:
        if flags:
            raise
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise
    return lock
