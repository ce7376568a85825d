"""Which LFS objects a commit has (pure): pointer files are found among its small blobs by their content.

See git-lfs's docs/spec.md, "The Pointer". Names in the tree are of no matter, so a hostile one can do no harm.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

SMALLEST, LARGEST = 100, 1024
"""Between these sizes, in bytes, lies every pointer."""

_VERSION = re.compile(rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\n")
_OID = re.compile(rb"^oid sha256:([0-9a-f]{64})$", re.MULTILINE)
_SIZE = re.compile(rb"^size (\d{1,18})$", re.MULTILINE)
_TREE_ENTRY = re.compile(rb"100[0-7]{3} blob ([0-9a-f]{40,64}) +(\d+)\t")
_BATCH_HEAD = re.compile(rb"([0-9a-f]{40,64}) (?:(\w+) (\d+)|missing)\n")


@dataclass(frozen=True, order=True)
class Pointer:
    """An LFS object.

    :param oid: the SHA-256 of its content, in hex.
    :param size: bytes of its content.
    """

    oid: str
    size: int

    @property
    def path(self) -> str:
        """Where it lies below the directory ``lfs``."""
        return f"objects/{self.oid[:2]}/{self.oid[2:4]}/{self.oid}"


def parse_pointer(data: bytes) -> Pointer | None:
    """Read a blob.

    :return: None when it is no pointer.
    """
    oid, size = _OID.search(data), _SIZE.search(data)
    if not _VERSION.match(data) or oid is None or size is None:
        return None
    return Pointer(oid[1].decode(), int(size[1]))


class TreeScanner:
    """Reads ``git ls-tree -r -l -z`` in pieces and finds the blobs whose size could be a pointer's."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """Take a piece and yield the object ids of the candidates that it completes."""
        *entries, self._rest = (self._rest + data).split(b"\0")
        for entry in entries:
            matched = _TREE_ENTRY.match(entry)
            if matched and SMALLEST <= int(matched[2]) < LARGEST:
                yield matched[1].decode()


class BatchScanner:
    """Reads ``git cat-file --batch`` in pieces and finds the pointers."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Pointer]:
        """Take a piece and yield the pointers that it completes.

        :raise ValueError: when it isn't git's output.
        """
        self._rest += data
        while (end := self._rest.find(b"\n")) >= 0:
            head = _BATCH_HEAD.match(self._rest)
            if head is None:
                raise ValueError("not the output of git cat-file")
            length = int(head[3] or 0)
            complete = end + 1 + (length + 1 if head[2] else 0)
            if len(self._rest) < complete:
                return
            content, self._rest = self._rest[end + 1 : end + 1 + length], self._rest[complete:]
            if (pointer := parse_pointer(content)) is not None:
                yield pointer
