"""What a new repository takes of a snapshot: objects and refs."""

from typing import Any, cast

import pytest

from cachew.client.clienterrors import ArchiveRefused
from cachew.client.seedrules import SeedRules, bundle_refs, packed_refs
from cachew.client.tarheader import EntryKind, TarEntry

OID, OTHER = b"a" * 40, b"b" * 40


class Tree:
    """Decides about the working tree as a test says.

    :param takes: whether files of it are taken.
    """

    def __init__(self, takes: bool = False) -> None:
        self._takes = takes
        self.begun = 0
        self.complete = False

    def begin(self) -> bool:
        """Decide."""
        self.begun += 1
        return self._takes

    def wants(self, entry: TarEntry) -> bool:
        """Want one file."""
        return entry.path == b"wanted"


def entry(path: str, kind: EntryKind = EntryKind.FILE) -> TarEntry:
    """Return an entry."""
    return TarEntry(path.encode(), kind, 0o644, 0, 0)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        (".git/packed-refs", True),
        (".git/shallow", True),
        (".git/index", True),
        (".git/refs/heads/main", True),
        (f".git/objects/pack/pack-{'a' * 40}.pack", True),
        (f".git/objects/pack/pack-{'a' * 64}.idx", True),
        (f".git/objects/aa/{'a' * 38}", True),
        (".git/HEAD", False),
        (".git/config", False),
        (".git/hooks/post-checkout", False),
        (".git/info/attributes", False),
        (".git/objects/info/alternates", False),
        (".git/objects/pack/pack-x.pack", False),
        (f".git/objects/pack/pack-{'a' * 40}.keep", False),
        ("README", False),
    ],
)
def test_what_is_kept(path: str, kept: bool) -> None:
    """Nothing that git would obey comes along."""
    rules = SeedRules(tree=cast(Any, Tree()))
    try:
        found = rules.judge(entry(path))
    except ArchiveRefused:
        found = None
    assert (found is not None) is kept


def test_the_repository_is_over_when_something_else_follows() -> None:
    """Whether the working tree is taken is decided once, and then; without it nothing more is waited for."""
    tree = Tree()
    rules = SeedRules(tree=cast(Any, tree))
    for path in (f".git/objects/aa/{'a' * 38}", ".git/packed-refs"):
        rules.judge(entry(path))
    assert not rules.complete and tree.begun == 0
    assert rules.judge(entry("README")) is None and rules.judge(entry("wanted")) is None
    assert rules.complete and tree.begun == 1 and not rules.takes_tree


def test_files_of_the_tree_that_are_wanted() -> None:
    """Those are taken, and it is complete when the last one has come."""
    tree = Tree(takes=True)
    rules = SeedRules(tree=cast(Any, tree))
    rules.judge(entry(".git/packed-refs"))
    assert rules.judge(entry("README")) is None and rules.judge(entry("wanted")) is not None
    assert not rules.complete
    tree.complete = True
    assert rules.complete


def test_refs_become_those_of_a_bundle() -> None:
    """Branches, wherever they were, and tags; a loose branch comes before a packed one, other refs stay away."""
    packed = b"# pack-refs with: peeled\n%b refs/remotes/origin/main\n%b refs/tags/v1\n^%b\n%b refs/notes/x\n"
    found = bundle_refs(packed % (OID, OID, OTHER, OID), {b"refs/heads/main": OTHER + b"\n"})
    assert found == {b"refs/bundles/heads/main": OTHER, b"refs/bundles/tags/v1": OID}
    assert bundle_refs(b"", {}) == {}


@pytest.mark.parametrize(
    ("packed", "branches"),
    [
        (b"no refs", {}),
        (OID + b" refs/heads/a b\n", {}),
        (OID + b" refs/heads/../x\n", {}),
        (OID + b" refs/heads/x.lock\n", {}),
        (OID + b" refs/heads/.x\n", {}),
        (OID + b" refs/heads/x/\n", {}),
        (OID + b" refs/heads/x@{1}\n", {}),
        (b"abc refs/heads/x\n", {}),
        (OID + b"a refs/heads/x\n", {}),
        (b"", {b"refs/heads/main": b"ref: refs/heads/x"}),
        (b"", {b"refs/heads/a\nb": OID}),
    ],
)
def test_what_is_no_ref_is_refused(packed: bytes, branches: dict[bytes, bytes]) -> None:
    """Names and values that git would not take, from wherever they come."""
    with pytest.raises(ArchiveRefused):
        bundle_refs(packed, branches)


def test_what_git_reads_is_sorted() -> None:
    """As the header says."""
    text = packed_refs({b"refs/b": OID, b"refs/a": OTHER})
    assert text == b"# pack-refs with: sorted \n%b refs/a\n%b refs/b\n" % (OTHER, OID)
