"""The path grammar: one identity per repository, and nothing else gets through."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.mirrors.identity import Identity, parse_path
from cachew.plumbing.errors import BadPath, UnknownPath


@pytest.mark.parametrize(
    "raw",
    [
        b"/git/github.com/org/repo/info/refs",
        b"/git/GitHub.com/org/repo.git/info/refs",
        b"/git/github.com:443/org/repo/info/refs",
        b"/git/github.com/org/r%65po/info/refs",
        b"/git/github.com/org/repo//info/refs",
        b"/git/github.com/org/repo.git//info/refs",
    ],
)
def test_spellings(raw: bytes) -> None:
    """Every spelling of one repository gives the same identity."""
    parsed = parse_path(raw)
    assert parsed.identity == Identity("github.com", "org/repo")
    assert parsed.operation == "info/refs"


@pytest.mark.parametrize(
    ("raw", "path", "operation"),
    [
        (b"/git/h.example/org/info/refs/info/refs", "org/info/refs", "info/refs"),
        (b"/git/h.example/org/pub/refs/heads/x/git-upload-pack", "org/pub/refs/heads/x", "git-upload-pack"),
        (b"/git/h.example/r/info/lfs/objects/batch", "r", "info/lfs/objects/batch"),
        (b"/git/h.example/a/info/lfs/info/lfs/locks/7/unlock", "a/info/lfs", "info/lfs/locks/7/unlock"),
        (b"/git/h.example/a/b/snapshot.tar.zst", "a/b", "snapshot.tar.zst"),
        (b"/git/h.example/snapshot.tar.zst/snapshot.tar.zst", "snapshot.tar.zst", "snapshot.tar.zst"),
        (b"/git/h.example:8443/a/ensure-refs", "a", "ensure-refs"),
    ],
)
def test_operation_is_last(raw: bytes, path: str, operation: str) -> None:
    """The operation is the last element or elements and nothing else."""
    parsed = parse_path(raw)
    assert (parsed.identity.path, parsed.operation) == (path, operation)


@pytest.mark.parametrize(
    "repository",
    [
        b"github.com/org//repo",
        b"github.com/org/repo//",
        b"github.com/",
        b"github.com/org/./repo",
        b"github.com/org/../repo",
        b"github.com/org/%2e%2e/repo",
        b"github.com/org%2frepo",
        b"github.com/org%5crepo",
        b"github.com/org/re%00po",
        b"github.com/org/re%2570o",
        b"github.com/org/re%po",
        b"github.com/org/-repo",
        b"github.com/org/repo.lock",
        b"github.com/org/repo.lock.git",
        b"github.com/org/repo.git.git",
        b"github.com/org/.git",
        b"github.com/-.git",
        b"github.com/..git",
        b"github.com/org/re po",
        b"github.com/org/re\xffpo",
        b"github.com/" + b"/".join([b"a"] * 17),
        b"github.com/" + b"a" * 513,
        b"git_hub.com/org/repo",
        b"-x.com/org/repo",
        b"github.com./org/repo",
        b"github.com:0/org/repo",
        b"github.com:99999/org/repo",
        b"user@github.com/org/repo",
        b"[::1]/org/repo",
        b"/org/repo",
    ],
)
def test_refused(repository: bytes) -> None:
    """A repository path that breaks a rule is refused."""
    with pytest.raises(BadPath):
        parse_path(b"/git/" + repository + b"/info/refs")


@pytest.mark.parametrize(
    "raw",
    [
        b"/git/github.com/org/repo",
        b"/git/github.com/org/repo/",
        b"/git/github.com/org/repo/HEAD",
        b"/git/github.com/org/repo/objects/info/packs",
        b"/git/github.com/org/repo/info/refs/",
        b"/git/github.com/info/refs",
        b"/git/github.com",
        b"/git/github.com/org/repo/info/lfs",
        b"/elsewhere",
    ],
)
def test_unknown(raw: bytes) -> None:
    """A well-formed path without a repository or an operation is unknown."""
    with pytest.raises(UnknownPath):
        parse_path(raw)


SEGMENT = st.from_regex(r"[A-Za-z0-9._~+@][A-Za-z0-9._~+@-]{0,40}", fullmatch=True)


@given(st.lists(SEGMENT, min_size=1, max_size=16))
def test_names_round_trip(segments: list[str]) -> None:
    """An accepted path keeps its meaning through its name, and its directory is two levels deep."""
    try:
        identity = parse_path(f"/git/H.example/{'/'.join(segments)}/info/refs".encode()).identity
    except BadPath:
        return
    assert Identity.from_name(identity.name) == identity
    assert identity.directory_name.count("/") == 1
    assert len(identity.directory_name.partition("/")[2]) < 255


@given(st.binary(max_size=80))
def test_anything(data: bytes) -> None:
    """No bytes make the parser fail in another way than with its own errors."""
    with contextlib.suppress(BadPath, UnknownPath):
        parse_path(b"/git/" + data)


def test_directories_differ() -> None:
    """Different repositories have different directories, long names too, and none lies in another."""
    long = "a" * 40
    paths = ["org/pub", "org=pub".replace("=", "~"), "org/pub/refs/heads/x", "/".join([long] * 8), "/".join([long] * 9)]
    names = [Identity("h.example", path).directory_name for path in paths]
    assert len(set(names)) == len(names)
    assert not any(a != b and a.startswith(b + "/") for a in names for b in names)


def test_from_url() -> None:
    """A URL gives the identity of the path it would have through cachew."""
    assert Identity.from_url("https://GitHub.com/org/repo.git/").name == "github.com/org/repo"
    with pytest.raises(BadPath):
        Identity.from_url("ssh://git@github.com/org/repo")
