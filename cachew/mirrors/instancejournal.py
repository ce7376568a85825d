"""The file in which a server keeps what it knows of instances: a line for each change, the last one of a name counts.

A change is in the file before anybody is served by it. The file is written anew at each start, and now and then, but
for what later lines have made void. When a line can't be read nobody knows whose it was, so all that it says is void.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from cachew.mirrors.instance import State
from cachew.plumbing.threads import InThread

_REWRITTEN = 16 * 1024 * 1024
"""Bytes of changes after which the file is written anew."""


class InstanceJournal:
    """The instances that are written down, and the writing of their changes.

    :param path: the file.
    :param in_thread: where it is read and written.
    """

    log = Logger()

    def __init__(self, *, path: Path, in_thread: InThread) -> None:
        self._path, self._in_thread = path, in_thread
        self._lock, self._written = DeferredLock(), 0

    async def load(self) -> dict[str, State]:
        """Return what is known, by the repository's name.

        :raise OSError: when the file can't be written anew.
        """
        known, sound = await self._in_thread(_load, self._path)
        if not sound:
            self.log.error("{path} is damaged: every repository begins a new instance", path=str(self._path))
        return dict(known)

    async def note(self, name: str, state: State) -> None:
        """Write down what is known of a repository now; it is on the disk when this returns.

        :raise OSError: when it can't be written.
        """
        await self._lock.acquire()
        try:
            line = _line(name, state)
            await self._in_thread(_append, self._path, line)
            self._written += len(line)
            if self._written > _REWRITTEN:
                self._written = 0
                await self._in_thread(_load, self._path)
        finally:
            self._lock.release()


def _load(path: Path) -> tuple[dict[str, State], bool]:
    known: dict[str, State] = {}
    sound = True
    try:
        *lines, _ = path.read_bytes().split(b"\n")  # what stands after the last end of a line was cut off by a crash
    except FileNotFoundError:
        lines = []
    for line in lines:
        try:
            name, state = _parse(line)
        except ValueError:
            sound = False
        else:
            known[name] = state
    if not sound:
        known = {}
    _rewrite(path, known)
    return known, sound


def _parse(line: bytes) -> tuple[str, State]:
    try:
        name, fields = json.loads(line)
    except TypeError as error:
        raise ValueError(str(error)) from error
    state = State.read(fields)
    if not isinstance(name, str) or state is None:
        raise ValueError("not what is known of an instance")
    return name, state


def _rewrite(path: Path, known: Mapping[str, State]) -> None:
    aside = path.with_suffix(".new")
    with aside.open("wb") as file:
        file.writelines(_line(name, state) for name, state in known.items())
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def _line(name: str, state: State) -> bytes:
    return json.dumps([name, state.fields()]).encode() + b"\n"


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("ab") as file:
        end = file.tell()
        try:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            # A line of which only a part could be written must not swallow the next one.
            os.truncate(path, end)
            raise
