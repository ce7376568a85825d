"""What a repository that git has just made may take out of a snapshot (pure): objects and refs, nothing else.

No config, no hooks, whatever the archive holds of them (:mod:`cachew.client.snapshotrules` judges it all the same).
Refs and the index are kept for reading only; refs become ``refs/bundles/*``, as those of a bundle do. Of the working
tree, files become blobs where that is worth while.
"""

import re

from cachew.client.clienterrors import ArchiveRefused
from cachew.client.filesums import FileSum, sum_of
from cachew.client.seedblobs import SeedBlobs
from cachew.client.snapshotrules import SnapshotRules
from cachew.client.tarheader import EntryKind, TarEntry

_WANTED = re.compile(
    rb"""\.git/(?: packed-refs | shallow | index | refs/heads/.+
    | objects/pack/pack-[0-9a-f]{40}(?:[0-9a-f]{24})?\.(?:pack|idx|rev|bitmap|promisor)
    | objects/[0-9a-f]{2}/[0-9a-f]{38}(?:[0-9a-f]{24})? )
    """,
    re.VERBOSE | re.DOTALL,
)
_REF = re.compile(rb"([0-9a-f]{40}(?:[0-9a-f]{24})?) (refs/[^\x00-\x20\x7f~^:?*\[\\]+)")
_OID = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_PLACES = (
    (b"refs/remotes/origin/", b"refs/bundles/heads/"),
    (b"refs/heads/", b"refs/bundles/heads/"),
    (b"refs/tags/", b"refs/bundles/tags/"),
)


class SeedRules:
    """The rules for one archive.

    :param tree: decides about the working tree.
    :param folds_case: whether the file system takes ``A`` and ``a`` for one name.
    """

    def __init__(self, *, tree: SeedBlobs, folds_case: bool = False) -> None:
        self._rules = SnapshotRules(folds_case=folds_case)
        self._tree = tree
        self._within = False
        self._past_repository = False
        self.takes_tree = False

    @property
    def complete(self) -> bool:
        """Whether everything that is wanted has come."""
        return self._past_repository and not (self.takes_tree and not self._tree.complete)

    def judge(self, entry: TarEntry) -> "TarEntry | None":
        """Keep what is wanted; the repository's part of an archive is over when something else comes after refs."""
        kept = self._rules.judge(entry)
        inside = entry.path.startswith(b".git/") or entry.path == b".git"
        if inside and not entry.path.startswith(b".git/objects"):
            self._within = True
        elif self._within and not inside and not self._past_repository:
            self._past_repository = True
            self.takes_tree = self._tree.begin()
        if kept is None or kept.kind is not EntryKind.FILE:
            return None
        wanted = _WANTED.fullmatch(kept.path) if inside else self.takes_tree and self._tree.wants(kept)
        return kept if wanted else None

    def wants_content(self, path: bytes) -> bool:
        """Nothing: what is wanted is written."""
        return False

    def stands_alone(self, path: bytes) -> bool:
        """Everything that is kept is written by ourselves."""
        return True

    def sum_of(self, path: bytes) -> "FileSum | None":
        """Git's own checksum, of whatever has one."""
        return sum_of(path)


def bundle_refs(packed: bytes, branches: "dict[bytes, bytes]") -> "dict[bytes, bytes]":
    """Return the refs that a seeded repository gets, by their names.

    :param packed: the snapshot's ``packed-refs``.
    :param branches: the content of each file below its ``refs/heads/``, by the branch's full name.
    :raise ArchiveRefused: when something is no ref.
    """
    found = dict[bytes, bytes]()
    for line in packed.split(b"\n"):
        if not line or line[:1] in (b"#", b"^"):
            continue
        match = _REF.fullmatch(line)
        if not match:
            raise ArchiveRefused("its packed-refs are none")
        found[match[2]] = match[1]
    found |= {name: content.strip() for name, content in branches.items()}
    renamed = {_renamed(name): oid for name, oid in found.items()}
    if not all(_is_name(name) and _OID.fullmatch(oid) for name, oid in renamed.items() if name):
        raise ArchiveRefused("it holds a ref of no valid name or value")
    return {name: oid for name, oid in renamed.items() if name}


def packed_refs(refs: "dict[bytes, bytes]") -> bytes:
    """Return the text of a ``packed-refs`` file."""
    lines = [b"%s %s\n" % (refs[name], name) for name in sorted(refs)]
    return b"# pack-refs with: sorted \n" + b"".join(lines)


def _renamed(name: bytes) -> bytes:
    return next((new + name[len(old) :] for old, new in _PLACES if name.startswith(old)), b"")


def _is_name(name: bytes) -> bool:
    """Tell whether git takes a name for a ref's (git-check-ref-format(1))."""
    bad = re.search(rb"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.$|/$", name)
    return not bad and all(part[:1] != b"." and not part.endswith(b".lock") for part in name.split(b"/"))
