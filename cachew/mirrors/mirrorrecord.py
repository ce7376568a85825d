"""The file in a mirror that says what it is: of which instance of which repository, and which of its mirrors."""

import json
from dataclasses import dataclass
from pathlib import Path

from cachew.mirrors.identity import Identity
from cachew.plumbing.diskspace import content_of, put_in_place
from cachew.plumbing.errors import BadPath, UnknownPath

RECORD = "cachew.json"
"""The file's name. Its time of modification is that of the last fetch."""


@dataclass(frozen=True)
class MirrorRecord:
    """What the file says.

    :param identity: the repository.
    :param object_format: ``sha1`` or ``sha256``.
    :param instance: the id of the repository's instance; empty in the mirrors of earlier versions.
    :param generation: tells this mirror from others that the instance has had.
    """

    identity: Identity
    object_format: str
    instance: str
    generation: str

    def write(self, directory: Path) -> None:
        """Write the file."""
        document = {
            "repository": self.identity.name,
            "object-format": self.object_format,
            "instance": self.instance,
            "generation": self.generation,
        }
        put_in_place(directory / RECORD, json.dumps(document).encode())


def read(directory: Path) -> MirrorRecord | None:
    """Read a directory's file.

    :return: None when it has none that is sound.
    :raise OSError: when it can't be read.
    """
    try:
        document = json.loads(content_of(f"{directory}/{RECORD}"))
        identity, object_format = Identity.from_name(document["repository"]), document["object-format"]
        # In earlier versions this was what is the generation now.
        generation = str(document.get("generation", document["instance"]))
        instance = str(document["instance"]) if "generation" in document else ""
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError, BadPath, UnknownPath):
        return None
    return MirrorRecord(identity, object_format, instance, generation) if object_format in ("sha1", "sha256") else None
