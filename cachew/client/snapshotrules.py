"""What may be extracted of a snapshot of a repository (pure).

Git runs what a repository's ``.git`` tells it to: hooks, filters and monitors of its config, the editor's script of a
half-done rebase, objects of another directory. So of ``.git`` only data is taken, by a list of what is allowed:
objects, refs, reflogs, HEAD, the index. The client writes the rest itself. In the working tree no name may pass for
``.git`` on any file system, by the rules that git has for trees (``core.protectHFS``, ``core.protectNTFS``).
"""

import re

from cachew.client.archiverules import DirectoryRules, with_mode
from cachew.client.clienterrors import ArchiveRefused
from cachew.client.entrynames import normal_path, show
from cachew.client.filesums import FileSum, sum_of
from cachew.client.tarheader import EntryKind, TarEntry

CONFIG = b".git/config"
_FILES = re.compile(
    rb"""HEAD | ORIG_HEAD | packed-refs | index | shallow | description | info/exclude
    | (?:refs|logs/refs)/.+ | logs/HEAD
    | objects/[0-9a-f]{2}/[0-9a-f]{38}(?:[0-9a-f]{24})?
    | objects/pack/(?:pack-|multi-pack-index)[0-9A-Za-z._-]*
    | objects/info/(?:packs|commit-graph) | objects/info/commit-graphs/(?:commit-graph-chain|graph-[0-9a-f]+\.graph)
    """,
    re.VERBOSE | re.DOTALL,
)
_DIRECTORIES = re.compile(
    rb"(?:refs|logs|logs/refs)(?:/.+)?|info|objects(?:/(?:[0-9a-f]{2}|pack|info|info/commit-graphs))?", re.DOTALL
)
_LFS_OBJECT = re.compile(rb"lfs/objects/([0-9a-f]{2})/([0-9a-f]{2})/([0-9a-f]{64})")
_LFS_DIRECTORY = re.compile(rb"lfs(?:/objects(?:/[0-9a-f]{2}){0,2})?")
# HFS+ leaves these out when it compares names (git's utf8.c, next_hfs_char).
_IGNORED_BY_HFS = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])
_NTFS_SUFFIX = re.compile(r"[ .]*(?::.*)?")


class SnapshotRules:
    """The rules for ``snapshot.tar.zst``.

    :param folds_case: whether the file system takes ``A`` and ``a`` for one name.
    """

    def __init__(self, *, folds_case: bool = False) -> None:
        self._directory = DirectoryRules(folds_case=folds_case)

    def judge(self, entry: TarEntry) -> TarEntry | None:
        """Judge by the place: data within ``.git``, anything harmless in the working tree."""
        parts = entry.path.split(b"/")
        inside = parts[0] == b".git"
        for part in parts[1:] if inside else parts:
            if (b"." in part or b"~" in part) and passes_for_dot_git(part):
                raise ArchiveRefused(f"{show(entry.path)} holds a repository within the repository")
        kept = self._directory.judge(entry)
        if kept is None:
            return None
        return self._git_data(kept) if inside else self._working_tree(kept)

    def wants_content(self, path: bytes) -> bool:
        """The config is left out, but where it says the upstream is may be of use."""
        return path == CONFIG

    def stands_alone(self, path: bytes) -> bool:
        """Git's objects are called after their content, and no link can be among them or lead there."""
        return path.startswith(b".git/objects/")

    def sum_of(self, path: bytes) -> FileSum | None:
        """Git's own checksum, of whatever has one."""
        return sum_of(path)

    def _git_data(self, entry: TarEntry) -> TarEntry | None:
        if entry.kind in (EntryKind.SYMLINK, EntryKind.HARDLINK):
            raise ArchiveRefused(f"{show(entry.path)} is a link within .git")
        name = entry.path.removeprefix(b".git").removeprefix(b"/")
        if entry.kind is EntryKind.DIRECTORY:
            return with_mode(entry, 0o755) if not name or _DIRECTORIES.fullmatch(name) else None
        if not name:
            raise ArchiveRefused(".git is not a directory")
        if not _FILES.fullmatch(name) or name.endswith(b".lock"):
            return None
        return with_mode(entry, 0o444 if name.startswith(b"objects/") else 0o644)

    def _working_tree(self, entry: TarEntry) -> TarEntry:
        if entry.kind is EntryKind.SYMLINK and entry.path.lower() == b".gitmodules":
            raise ArchiveRefused(".gitmodules is a link")
        if entry.kind is EntryKind.HARDLINK and entry.target.split(b"/")[0] == b".git":
            raise ArchiveRefused(f"{show(entry.path)} is a link into .git")
        if entry.kind is EntryKind.FILE:
            return with_mode(entry, 0o755 if entry.mode & 0o100 else 0o644)
        return with_mode(entry, 0o755) if entry.kind is EntryKind.DIRECTORY else entry


class LfsRules:
    """The rules for ``lfs-snapshot.tar.zst``: LFS objects under their own names and nothing else."""

    def judge(self, entry: TarEntry) -> TarEntry | None:
        """Refuse everything but ``lfs/objects/aa/bb/aabb…`` and the directories above."""
        path = normal_path(entry.path)
        if entry.kind is EntryKind.DIRECTORY and (not path or _LFS_DIRECTORY.fullmatch(path)):
            return with_mode(entry, 0o755) if path else None
        match = _LFS_OBJECT.fullmatch(path) if entry.kind is EntryKind.FILE else None
        if not match or not match[3].startswith(match[1] + match[2]):
            raise ArchiveRefused(f"{show(entry.path)} is not an LFS object")
        return with_mode(entry, 0o644)

    def wants_content(self, path: bytes) -> bool:
        """Nothing is left out."""
        return False

    def stands_alone(self, path: bytes) -> bool:
        """Everything: objects are called after their content, and there are no links."""
        return True

    def sum_of(self, path: bytes) -> FileSum | None:
        """Nothing here: objects are checked by their names before they are put into their places."""
        return None


def passes_for_dot_git(part: bytes) -> bool:
    """Tell whether some file system takes a name for ``.git``."""
    if part.isascii() and b"git" not in part.lower():
        return False
    text = part.decode("utf-8", "replace").translate(_IGNORED_BY_HFS).casefold()
    for piece in text.split("\\"):
        for name in (".git", "git~1"):
            if piece.startswith(name) and _NTFS_SUFFIX.fullmatch(piece, len(name)):
                return True
    return False
