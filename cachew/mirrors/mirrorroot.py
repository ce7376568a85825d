"""The directory that holds nothing but mirrors, as it is found at start (blocking)."""

import os
from dataclasses import replace
from pathlib import Path

from twisted.logger import Logger

from cachew.mirrors.identity import Grammar, Identity
from cachew.mirrors.leftovers import remove_tree
from cachew.mirrors.mirrorrecord import MirrorRecord, read
from cachew.plumbing.errors import BadPath

_ASIDE = ".aside"


class MirrorRoot:
    """Knows where mirrors lie.

    :param path: the directory.
    :param grammar: how repositories are named.
    """

    log = Logger()

    def __init__(self, *, path: Path, grammar: Grammar) -> None:
        self.path = path
        self._grammar = grammar
        self._doomed: set[Path] = set()

    @property
    def aside(self) -> Path:
        """Where new mirrors are made before they are renamed to their places."""
        return self.path / _ASIDE

    def remove(self, directory: Path) -> None:
        """Remove what lies aside (blocking); what the disk doesn't let go is left to :meth:`sweep`."""
        remove_tree(directory)
        if os.path.lexists(directory):
            self._doomed.add(directory)

    def sweep(self) -> None:
        """Try again to remove what could not be removed (blocking)."""
        for directory in list(self._doomed):
            self._doomed.discard(directory)
            self.remove(directory)

    def place_of(self, identity: Identity) -> Path:
        """Return where a repository's mirror is once it is ready."""
        return self.path / identity.directory_name

    def scan(self) -> dict[Identity, MirrorRecord]:
        """Return what the mirrors that are there say of themselves; whatever else there is is removed."""
        self.path.mkdir(parents=True, exist_ok=True)
        remove_tree(self.aside)
        found: dict[Identity, MirrorRecord] = {}
        for path in sorted(self.path.glob("*/*")):
            try:
                record = self._settled(path)
            except OSError as error:
                self.log.warn("leaving {path} alone: {error}", path=str(path), error=str(error))
                continue
            if record is None:
                self.log.warn("removing {path}: it is no mirror", path=str(path))
                remove_tree(path)
            else:
                found[record.identity] = record
        return found

    def _settled(self, directory: Path) -> MirrorRecord | None:
        """Return what a mirror says of itself, after moving it to where that one's is looked for.

        Names have followed other rules, and the config may say now that a host ignores case.

        :return: None when it is no mirror, or not the only one of its repository.
        :raise OSError: when it can't be read or moved.
        """
        record = read(directory)
        if record is None:
            return None
        try:
            identity = self._grammar.normal(record.identity)
        except BadPath:
            return None
        place = self.place_of(identity)
        if place != directory:
            if place.exists():
                return None
            if identity != record.identity:
                record = replace(record, identity=identity)
                record.write(directory)
            place.parent.mkdir(parents=True, exist_ok=True)
            directory.rename(place)
            self.log.info("{path} is now {place}", path=str(directory), place=str(place))
        return record
