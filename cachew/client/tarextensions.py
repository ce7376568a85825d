"""What a tar archive says of an entry in headers before the entry's own: pax records and GNU's long names (pure).

See POSIX pax, "pax Header Block", and tar(5). What entries are called, how long they are and where links lead is put
together of all that here, so the scanner's rules judge what an extracting program would see.
"""

from cachew.client.clienterrors import ArchiveBroken, ArchiveRefused
from cachew.client.entrynames import normal_path, show
from cachew.client.tarheader import EntryKind, RawHeader, TarEntry

EXTENSION_FLAGS = (b"x", b"g", b"L", b"K")
"""The types of the headers that are no entries themselves."""
_KINDS = {b"0": EntryKind.FILE, b"\0": EntryKind.FILE, b"7": EntryKind.FILE}
_KINDS |= {b"1": EntryKind.HARDLINK, b"2": EntryKind.SYMLINK, b"5": EntryKind.DIRECTORY}
_DEVICES = {b"3": "a character device", b"4": "a block device", b"6": "a fifo"}


class HeaderExtensions:
    """What has been said of the next entry."""

    def __init__(self) -> None:
        self._known: dict[bytes, bytes] = {}

    @property
    def pending(self) -> bool:
        """Whether an entry has to follow."""
        return bool(self._known)

    def add(self, flag: bytes, data: bytes) -> None:
        """Take the content of an extension.

        :param flag: its type, of ``EXTENSION_FLAGS``.
        :raise ArchiveRefused: when it could do harm.
        :raise ArchiveBroken: when it is malformed.
        """
        if flag == b"L":
            self._known[b"path"] = data.partition(b"\0")[0]
        elif flag == b"K":
            self._known[b"linkpath"] = data.partition(b"\0")[0]
        elif flag == b"x":
            self._known |= _pax(data)
        elif _pax(data):
            raise ArchiveRefused("a global header renames or resizes entries")

    def entry(self, header: RawHeader) -> TarEntry:
        """Return what an entry is, of which all has been said then.

        :param header: its own header.
        :raise ArchiveRefused: when it is nothing that may be extracted.
        """
        known = self._known
        name = known.get(b"path", header.name)
        kind = _KINDS.get(header.flag)
        if kind is None:
            raise ArchiveRefused(f"{show(name)} is {_DEVICES.get(header.flag, 'of an unknown type')}")
        if header.flag == b"\0" and name.endswith(b"/"):
            kind = EntryKind.DIRECTORY
        size = _decimal(known[b"size"]) if b"size" in known else header.size
        if kind is not EntryKind.FILE and size:
            raise ArchiveRefused(f"{show(name)} is no file and has content")
        target = b""
        if kind in (EntryKind.HARDLINK, EntryKind.SYMLINK):
            target = known.get(b"linkpath", header.target)
            if not target or b"\0" in target:
                raise ArchiveRefused(f"{show(name)} is a link to nothing")
        self._known = {}
        return TarEntry(normal_path(name), kind, header.mode & 0o7777, size, header.mtime, target)


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise ArchiveRefused("an entry has an impossible size")
    return int(text)


def _pax(data: bytes) -> dict[bytes, bytes]:
    """Return the records that say what an entry is."""
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(data):
        digits, _, _ = data[position : position + 20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = data[position + len(digits) + 1 : position + length]
        key, equals, value = record.partition(b"=")
        if length < len(digits) + 4 or position + length > len(data) or not equals or not value.endswith(b"\n"):
            raise ArchiveBroken("the archive is damaged: a pax header is malformed")
        if key.startswith(b"GNU.sparse"):
            raise ArchiveRefused("it holds a sparse file")
        records[key] = value[:-1]
        position += length
    return {key: value for key, value in records.items() if key in (b"path", b"linkpath", b"size")}
