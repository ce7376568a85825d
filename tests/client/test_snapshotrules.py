"""What of a snapshot may be extracted."""

import pytest

from cachew.client.clienterrors import ArchiveRefused
from cachew.client.snapshotrules import LfsRules, SnapshotRules, passes_for_dot_git
from cachew.client.tarheader import EntryKind, TarEntry

OID = "ab" * 20


def entry(path: str, kind: EntryKind = EntryKind.FILE, mode: int = 0o644, target: str = "") -> TarEntry:
    """Return an entry."""
    return TarEntry(path.encode(), kind, mode, 0, 0, target.encode())


@pytest.mark.parametrize(
    "path",
    [
        ".git/HEAD",
        ".git/packed-refs",
        ".git/index",
        ".git/shallow",
        ".git/info/exclude",
        ".git/refs/heads/feature/x",
        ".git/refs/remotes/origin/HEAD",
        ".git/logs/HEAD",
        f".git/objects/{OID[:2]}/{OID[2:]}",
        f".git/objects/ab/{'cd' * 31}",
        f".git/objects/pack/pack-{OID}.pack",
        ".git/objects/pack/multi-pack-index",
        f".git/objects/pack/pack-{OID}.bitmap",
        ".git/objects/info/commit-graph",
        f".git/objects/info/commit-graphs/graph-{OID}.graph",
        "src/.gitignore",
        ".gitmodules",
        ".github/workflows/ci.yml",
        "hooks/pre-commit",
    ],
)
def test_keeps_data(path: str) -> None:
    """Git's data and the working tree are extracted."""
    assert SnapshotRules().judge(entry(path)) is not None


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".git/config.worktree",
        ".git/CONFIG",
        ".git/hooks/post-checkout",
        ".git/Hooks/post-checkout",
        ".git/info/attributes",
        ".git/info/grafts",
        ".git/info/sparse-checkout",
        ".git/objects/info/alternates",
        ".git/objects/info/http-alternates",
        ".git/objects/INFO/alternates",
        ".git/modules/sub/config",
        ".git/modules/sub/hooks/post-checkout",
        ".git/worktrees/x/gitdir",
        ".git/commondir",
        ".git/gitdir",
        ".git/branches/origin",
        ".git/remotes/origin",
        ".git/rebase-merge/git-rebase-todo",
        ".git/BISECT_START",
        ".git/lfs/objects/aa/bb/x",
        ".git/refs/heads/main.lock",
        ".git/sharedindex.0000",
    ],
)
def test_leaves_out_what_git_would_obey(path: str) -> None:
    """Whatever of .git is not plain data is left out."""
    assert SnapshotRules().judge(entry(path)) is None


@pytest.mark.parametrize(
    ("path", "kind", "target"),
    [
        (".git", EntryKind.SYMLINK, "elsewhere"),
        (".git", EntryKind.FILE, ""),
        (".git/HEAD", EntryKind.SYMLINK, "../x"),
        (".git/objects", EntryKind.SYMLINK, "/var/objects"),
        (".git/index", EntryKind.HARDLINK, "a"),
        ("a", EntryKind.HARDLINK, ".git/HEAD"),
        (".GIT/config", EntryKind.FILE, ""),
        (".Git", EntryKind.DIRECTORY, ""),
        (".g\u200cit/config", EntryKind.FILE, ""),
        ("git~1/config", EntryKind.FILE, ""),
        (".git ./config", EntryKind.FILE, ""),
        (".git::$INDEX_ALLOCATION/config", EntryKind.FILE, ""),
        (".git\\config", EntryKind.FILE, ""),
        ("sub/.git/config", EntryKind.FILE, ""),
        ("sub/.git", EntryKind.FILE, ""),
        (".git/refs/.git/config", EntryKind.FILE, ""),
        (".gitmodules", EntryKind.SYMLINK, "x"),
    ],
)
def test_refuses(path: str, kind: EntryKind, target: str) -> None:
    """Links within .git, repositories within the repository and disguises of .git refuse the archive."""
    with pytest.raises(ArchiveRefused):
        SnapshotRules().judge(entry(path, kind, target=target))


def test_links_point_where_they_like() -> None:
    """Links of the working tree are content, wherever they point."""
    kept = SnapshotRules().judge(entry("link", EntryKind.SYMLINK, target="../../etc/passwd"))
    assert kept is not None
    assert kept.target == b"../../etc/passwd"


def test_refuses_to_write_into_git_through_a_link() -> None:
    """A link of the working tree is no way into .git."""
    rules = SnapshotRules()
    rules.judge(entry("link", EntryKind.SYMLINK, target=".git"))
    with pytest.raises(ArchiveRefused):
        rules.judge(entry("link/config"))


@pytest.mark.parametrize(
    ("path", "kind", "mode", "expected"),
    [
        ("run", EntryKind.FILE, 0o4755, 0o755),
        ("run", EntryKind.FILE, 0o666, 0o644),
        ("dir", EntryKind.DIRECTORY, 0o3777, 0o755),
        (".git/HEAD", EntryKind.FILE, 0o777, 0o644),
        (f".git/objects/pack/pack-{OID}.pack", EntryKind.FILE, 0o777, 0o444),
    ],
)
def test_chooses_modes(path: str, kind: EntryKind, mode: int, expected: int) -> None:
    """Permissions are those that git would give."""
    kept = SnapshotRules().judge(entry(path, kind, mode))
    assert kept is not None
    assert kept.mode == expected


def test_knows_names_that_are_not_dot_git() -> None:
    """Names that only look alike are fine."""
    for name in (b".gitignore", b".github", b"git~10", b"x.git", b".git-blame-ignore-revs", b"git", "ﬁle.git".encode()):
        assert not passes_for_dot_git(name)


def test_lfs_objects() -> None:
    """An LFS snapshot holds LFS objects under their own names and nothing else."""
    oid = "0123" + "ef" * 30
    assert LfsRules().judge(entry(f"lfs/objects/01/23/{oid}")) is not None
    for path in ("", "lfs", "lfs/objects", "lfs/objects/01", "lfs/objects/01/23"):
        LfsRules().judge(entry(path, EntryKind.DIRECTORY))
    for bad in ("config", "hooks/post-checkout", f"lfs/objects/ff/23/{oid}", f"lfs/objects/01/23/{oid[:-1]}", "lfs"):
        with pytest.raises(ArchiveRefused):
            LfsRules().judge(entry(bad))
    with pytest.raises(ArchiveRefused):
        LfsRules().judge(entry(f"lfs/objects/01/23/{oid}", EntryKind.SYMLINK, target="/etc/passwd"))
