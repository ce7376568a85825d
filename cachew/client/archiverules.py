"""What may be extracted of any archive: nothing outside, nothing through a link, no set-id bit (pure).

Symbolic links may point anywhere, as those of real trees do; they are only never followed by a later entry.
"""

import unicodedata

from cachew.client.clienterrors import ArchiveRefused
from cachew.client.entrynames import normal_path, show
from cachew.client.filesums import FileSum
from cachew.client.tarheader import EntryKind, TarEntry


class DirectoryRules:
    """The rules for an archive of a directory.

    :param folds_case: whether the file system takes ``A`` and ``a`` for one name.
    """

    def __init__(self, *, folds_case: bool = False) -> None:
        self._folds_case = folds_case
        self._links: set[bytes] = set()
        self._safe_parent = b""
        self.closed_directories: dict[bytes, int] = {}

    def judge(self, entry: TarEntry) -> TarEntry | None:
        """Refuse what leaves the directory; take set-id bits off; leave the root as it is."""
        if not entry.path:
            if entry.kind is not EntryKind.DIRECTORY:
                raise ArchiveRefused("its root is not a directory")
            return None
        self._refuse_through_link(entry.path)
        if entry.kind is EntryKind.SYMLINK:
            self._add_link(entry.path)
        if entry.kind is EntryKind.HARDLINK:
            target = normal_path(entry.target)
            self._refuse_through_link(target)
            return entry._replace(target=target, mode=entry.mode & 0o777)
        return with_mode(entry, self._mode(entry))

    def wants_content(self, path: bytes) -> bool:
        """Nothing is left out whose content matters."""
        return False

    def stands_alone(self, path: bytes) -> bool:
        """Nothing: an archive may hold a file twice, and then the second one counts."""
        return False

    def sum_of(self, path: bytes) -> FileSum | None:
        """Nothing: what is in the files is their owner's affair."""
        return None

    def _mode(self, entry: TarEntry) -> int:
        mode = entry.mode & 0o777
        if entry.kind is not EntryKind.DIRECTORY:
            return mode
        # Files must get into a directory before it is closed to its owner; whoever cares closes it afterwards.
        if mode & 0o700 != 0o700:
            self.closed_directories[entry.path] = mode
        else:
            self.closed_directories.pop(entry.path, None)
        return mode | 0o700

    def _add_link(self, path: bytes) -> None:
        self._links.add(self._key(path))
        self._safe_parent = b""

    def _refuse_through_link(self, path: bytes) -> None:
        if not self._links:
            return
        key = self._key(path)
        parent = key.rpartition(b"/")[0]
        if key in self._links:
            raise ArchiveRefused(f"{show(path)} comes again after it was a link")
        if not parent or parent == self._safe_parent:
            return
        end = parent.find(b"/")
        while end != -1:
            self._refuse_link(parent[:end], path)
            end = parent.find(b"/", end + 1)
        self._refuse_link(parent, path)
        self._safe_parent = parent

    def _refuse_link(self, prefix: bytes, path: bytes) -> None:
        if prefix in self._links:
            raise ArchiveRefused(f"{show(path)} would be written through the link {show(prefix)}")

    def _key(self, path: bytes) -> bytes:
        if not self._folds_case:
            return path
        text = path.decode("utf-8", "surrogateescape")
        return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold()).encode(
            "utf-8", "surrogateescape"
        )


def with_mode(entry: TarEntry, mode: int) -> TarEntry:
    """Return the entry with other permissions."""
    return entry if entry.mode == mode else entry._replace(mode=mode)
