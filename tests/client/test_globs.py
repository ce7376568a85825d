"""Keys out of the content of files."""

import hashlib
from pathlib import Path

import pytest

from cachew.client.clienterrors import BadUsage
from cachew.client.globs import hash_files, matches

FILES = ["go.sum", "a/go.sum", "a/b/go.sum", "a/b/.hidden/go.sum", "a/x.py", "a/y.txt", "b/x1.c", "b/x^.c", "b/[z].c"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "link").symlink_to("go.sum")
    (tmp_path / "loop").symlink_to(".")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("go.sum", ["go.sum"]),
        ("./go.sum", ["go.sum"]),
        ("a/../go.sum", ["go.sum"]),
        ("*", ["go.sum"]),
        ("*/go.sum", ["a/go.sum"]),
        ("**/go.sum", ["a/b/.hidden/go.sum", "a/b/go.sum", "a/go.sum", "go.sum"]),
        ("a/**", ["a/b/.hidden/go.sum", "a/b/go.sum", "a/go.sum", "a/x.py", "a/y.txt"]),
        ("a/*.{py,txt}", ["a/x.py", "a/y.txt"]),
        ("b/x[0-9].c", ["b/x1.c"]),
        ("b/x[^0-9].c", ["b/x^.c"]),
        ("b/\\[z\\].c", ["b/[z].c"]),
        ("b/?z?.c", ["b/[z].c"]),
        ("nothing/*", []),
        ("a", []),
    ],
)
def test_matches(tree: Path, pattern: str, found: list[str]) -> None:
    """Patterns match regular files only, hidden ones too, and go through no link."""
    assert sorted(matches(pattern, root=tree)) == found


def test_matches_absolute_patterns(tree: Path) -> None:
    """An absolute pattern gives absolute paths."""
    assert list(matches(f"{tree}/a/*.py", root=Path())) == [f"{tree}/a/x.py"]


def test_hashes_paths_and_contents(tree: Path) -> None:
    """The key is the SHA-256 of sorted paths and contents, each ended by a NUL, and no file counts twice."""
    expected = hashlib.sha256(b"a/x.py\0a/x.py\0go.sum\0go.sum\0").hexdigest()
    assert hash_files(["go.sum", "a/*.py", "./go.sum"], root=tree) == expected


def test_refuses_patterns_without_a_match(tree: Path) -> None:
    """A pattern that matches nothing, or is malformed, is an error."""
    for pattern in ("*.lock", "a[", "a{b"):
        with pytest.raises(BadUsage):
            hash_files([pattern], root=tree)
