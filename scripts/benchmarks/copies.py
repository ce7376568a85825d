"""Thousands of mirrors in a moment: copies of one that a server has made, whose packs are links to the same files."""

import json
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_RECORD, _LEDGER, _CONFIG = "cachew.json", "verified.json", "config"
_OWN = frozenset({_RECORD, _LEDGER, _CONFIG})
"""Files of a mirror that say whose it is."""
_JOURNAL = "instances.jsonl"


class Model:
    """A mirror that is copied.

    :param state: the state directory of the server that has made it.
    :param repository: its repository, as ``host/path``.
    :param directory: where a copy of it is kept, whose files the others link.
    """

    def __init__(self, state: Path, repository: str, directory: Path) -> None:
        self._host, _, self._name = repository.partition("/")
        self._directory = directory
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(state / "mirrors" / self._host / f"{self._name}.git", directory)
        lines = (state / _JOURNAL).read_text().splitlines()
        self._instance = next(line for line in reversed(lines) if f'"{repository}"' in line)

    def copy_to(self, state: Path, names: Iterable[str]) -> None:
        """Put copies into the state directory of a server that doesn't run.

        :param names: of the repositories that they are to be mirrors of, on the model's host.
        """
        record: dict[str, Any] = json.loads((self._directory / _RECORD).read_text())
        config = (self._directory / _CONFIG).read_text()
        places, lines = [], []
        for name in names:
            place = state / "mirrors" / self._host / f"{name}.git"
            self._link(place)
            instance = uuid.uuid4().hex
            mine = record | {"repository": f"{self._host}/{name}", "instance": instance}
            (place / _RECORD).write_text(json.dumps(mine))
            (place / _CONFIG).write_text(config.replace(f"/{self._name}", f"/{name}"))
            line = self._instance.replace(f'"{self._host}/{self._name}"', f'"{self._host}/{name}"')
            lines.append(line.replace(record["instance"], instance) + "\n")
            places.append(place)
        (state / _JOURNAL).write_text("".join(lines))
        # Last, because each link changes the inode that is verified.
        ledger = self._ledger()
        for place in places:
            (place / _LEDGER).write_text(ledger)

    def _link(self, place: Path) -> None:
        for root, _, files in os.walk(self._directory):
            there = place / os.path.relpath(root, self._directory)
            there.mkdir(parents=True, exist_ok=True)
            for file in set(files) - _OWN:
                os.link(f"{root}/{file}", there / file)

    def _ledger(self) -> str:
        """Return the list of what is verified, as the files are now."""
        known: dict[str, Any] = json.loads((self._directory / _LEDGER).read_text())
        states = {name: os.stat(self._directory / name) for name in known}
        return json.dumps(
            {name: (one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for name, one in states.items()}
        )
