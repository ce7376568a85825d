"""A file of what is known of many names, by changes: a line for each, of which a name's last one counts.

A change is on the disk before anybody relies on it. The file is written anew at each start, and now and then, but for
what later lines have made void. When a line can't be read nobody knows whose it was, so all that it says is void.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from cachew.plumbing.jsonfile import replace_content
from cachew.plumbing.threads import InThread

T = TypeVar("T")
_REWRITTEN = 16 * 1024 * 1024
"""Bytes of changes after which the file is written anew."""


class Journal(Generic[T]):
    """What is written down of names, and the writing of its changes.

    :param path: the file.
    :param in_thread: where it is read and written.
    :param read: makes of JSON what is known of a name; raises :class:`ValueError` when it is none.
    :param write: makes JSON of it.
    :param lost: what it means that the file is damaged, for the log.
    :param check_name: raises :class:`ValueError` for what is none of the names.
    """

    log = Logger()

    def __init__(
        self,
        *,
        path: Path,
        in_thread: InThread,
        read: Callable[[Any], T],
        write: Callable[[T], Any],
        lost: str,
        check_name: Callable[[str], object] = str,
    ) -> None:
        self._path = path
        self._in_thread = in_thread
        self._read = read
        self._write = write
        self._lost = lost
        self._check_name = check_name
        self._lock = DeferredLock()
        self._written = 0

    async def load(self) -> dict[str, T]:
        """Return what is known, by name.

        :raise OSError: when the file can't be written anew.
        """
        known, sound = await self._in_thread(self._load)
        if not sound:
            self.log.error("{path} is damaged: {lost}", path=str(self._path), lost=self._lost)
        return dict(known)

    async def note(self, name: str, value: T | None) -> None:
        """Write down what is known of a name now; it is on the disk when this returns.

        :param value: None when nothing is.
        :raise OSError: when it can't be written.
        """
        await self._lock.acquire()
        try:
            line = self._line(name, value)
            await self._in_thread(self._append, line)
            self._written += len(line)
            if self._written > _REWRITTEN:
                self._written = 0
                await self._in_thread(self._load)
        finally:
            self._lock.release()

    def _load(self) -> tuple[dict[str, T], bool]:
        known: dict[str, T | None] = {}
        sound = True
        try:
            *lines, _ = self._path.read_bytes().split(b"\n")  # what stands after the last end of a line was cut off
        except FileNotFoundError:
            lines = []
        except IsADirectoryError:
            lines, sound = [], False
        for line in lines:
            try:
                name, value = self._parse(line)
            except ValueError:
                sound = False
            else:
                known[name] = value
        left = {name: value for name, value in known.items() if value is not None} if sound else {}
        self._rewrite(left)
        return left, sound

    def _parse(self, line: bytes) -> tuple[str, T | None]:
        try:
            name, fields = json.loads(line)
        except (TypeError, RecursionError) as error:
            raise ValueError(str(error)) from error
        if not isinstance(name, str):
            raise ValueError("a name is a text")
        self._check_name(name)
        return name, None if fields is None else self._read(fields)

    def _line(self, name: str, value: T | None) -> bytes:
        return json.dumps([name, None if value is None else self._write(value)]).encode() + b"\n"

    def _rewrite(self, known: Mapping[str, T]) -> None:
        replace_content(self._path, b"".join(self._line(name, value) for name, value in known.items()))

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._path.is_dir():
            # Earlier changes are lost; those that are known now come again as they change.
            replace_content(self._path, b"")
        with self._path.open("ab") as file:
            end = file.tell()
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                # A line of which only a part could be written must not swallow the next one.
                os.truncate(self._path, end)
                raise
