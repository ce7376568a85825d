"""Where objects lie that come one by one, until all have come (blocking; git(1), "GIT_OBJECT_DIRECTORY").

Over git's dumb protocol a commit comes before what it names, and packs before those that they lean on. In the
repository itself that would be taken for there, and be handed on without the rest. So git writes it beside, and it is
put among the repository's packs when git has seen that nothing is missing.
"""

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from cachew.mirrors.objectindex import index_names, write_empty_tree

_PREFIX = "tmp_apart-"
"""What begins so is removed with all that killed commands leave."""


class Quarantine:
    """A directory of objects that only some commands see.

    :param directory: the bare repository.
    :param object_format: ``sha1`` or ``sha256``.
    :ivar place: the directory.
    """

    def __init__(self, *, directory: Path, object_format: str) -> None:
        self._objects = directory / "objects"
        self._object_format = object_format
        self.place = self._objects / f"{_PREFIX}{uuid.uuid4().hex}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What has git write its objects there, and see those of the repository besides."""
        quoted = json.dumps(str(self._objects), ensure_ascii=False)
        return {"GIT_OBJECT_DIRECTORY": str(self.place), "GIT_ALTERNATE_OBJECT_DIRECTORIES": quoted}

    def open(self) -> None:
        """Make it."""
        (self.place / "pack").mkdir(parents=True)

    def loose(self) -> list[str]:
        """Return the ids of the objects that are there one by one, with the empty tree if there are any.

        git takes that for present everywhere and doesn't ask for it; but to fsck and bitmaps it is missing.
        """
        kinds = [entry.name for entry in os.scandir(self.place) if len(entry.name) == 2]
        found = {kind + name for kind in kinds for name in os.listdir(self.place / kind) if "." not in name}
        if found:
            found.add(write_empty_tree(self.place, self._object_format))
        return list(found)

    def release(self) -> None:
        """Put the packs that are there among the repository's: each is seen when its index comes, which is last."""
        here, there = self.place / "pack", self._objects / "pack"
        new = [name[:-4] for name in index_names(self.place) if not (there / name).exists()]
        for suffix in (".pack", ".rev", ".idx"):
            for name in new:
                if (here / f"{name}{suffix}").exists():
                    (here / f"{name}{suffix}").replace(there / f"{name}{suffix}")
