"""The path grammar: one identity per repository, and nothing else gets through."""

import contextlib
import hashlib
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.mirrors.identity import Grammar, Identity, parse_decoded, parse_path
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
        (b"/git/h.example/a/HEAD", "a", "HEAD"),
        (b"/git/h.example/a/HEAD/info/refs", "a/HEAD", "info/refs"),
        (b"/git/h.example/a/objects/info/packs", "a", "objects/info/packs"),
        (b"/git/h.example/a.git/objects/0f/" + b"1" * 38, "a", "objects/0f/" + "1" * 38),
        (b"/git/h.example/a/b/objects/pack/pack-%b.idx" % (b"1" * 40), "a/b", f"objects/pack/pack-{'1' * 40}.idx"),
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
        b"github.com/org/re%252fpo",
        b"github.com/org/re%0apo",
        b"github.com/org/re%7Fpo",
        b"github.com/org/re%C2%85po",
        b"github.com/org/re%FFpo",
        b"github.com/org/re%ED%A0%80po",
        b"github.com/org/re%C0%AFpo",
        b"github.com/org/re\\po",
        b"github.com/org/%2e",
        b"github.com/org/.%2e",
        b"github.com/org/re%po",
        b"github.com/org/repo.git.git",
        b"github.com/org/.git",
        b"github.com/..git",
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


@pytest.mark.parametrize(
    ("raw", "path", "name"),
    [
        (b"org/My%20Project/_git/repo", "org/My Project/_git/repo", "org/My%20Project/_git/repo"),
        (b"org/gr%C3%B6%C3%9fe", "org/größe", "org/gr%C3%B6%C3%9Fe"),
        ("org/größe".encode(), "org/größe", "org/gr%C3%B6%C3%9Fe"),
        (b"o/a,b&c'd(e)f!g=h:i;j", "o/a,b&c'd(e)f!g=h:i;j", "o/a%2Cb%26c%27d%28e%29f%21g%3Dh%3Ai%3Bj"),
        (b"o/%3Fx%23y", "o/?x#y", "o/%3Fx%23y"),
        (b"o/100%25", "o/100%", "o/100%25"),
        (b"org/x.lock", "org/x.lock", "org/x.lock"),
        (b"org/x.lock.git", "org/x.lock", "org/x.lock"),
        (b"-org/-dash", "-org/-dash", "-org/-dash"),
        (b".github/.github", ".github/.github", ".github/.github"),
        (b"-.git", "-", "-"),
    ],
)
def test_names_that_forges_allow(raw: bytes, path: str, name: str) -> None:
    """Blanks, letters of any language, signs, x.lock and -dash are names; what is made of them is percent-encoded."""
    identity = parse_path(b"/git/h.example/" + raw + b"/git-upload-pack").identity
    assert (identity.path, identity.name) == (path, f"h.example/{name}")
    assert Identity.from_name(identity.name) == identity == Identity.from_decoded(f"h.example/{path}")
    assert parse_decoded(f"/git/h.example/{path}/git-upload-pack").identity == identity


@pytest.mark.parametrize("character", range(0x20))
def test_control_characters_are_refused(character: int) -> None:
    """No control character gets into a name, however it is written."""
    with pytest.raises(BadPath):
        parse_path(b"/git/h.example/a%%%02xb/info/refs" % character)


def test_case_that_makes_no_difference() -> None:
    """On hosts that ignore case all spellings are one repository, on others each is one; letters beyond A-Z count."""
    grammar = Grammar({"gitea.example": True, "github.com": True})
    for spelling in (b"github.com/Org/Repo", b"GITHUB.com/oRG/rEPO.GIT", b"github.com:443/org/repo.git"):
        assert grammar.parse_path(b"/git/" + spelling + b"/info/refs").identity.name == "github.com/org/repo"
    assert grammar.from_name("gitea.example/A/B") == grammar.from_url("https://gitea.example/a/b.git")
    assert grammar.from_name("gitlab.com/A/B") != grammar.from_name("gitlab.com/a/b")
    assert grammar.from_name("h.example/A/B") != grammar.from_name("h.example/a/b")
    assert grammar.from_decoded("gitea.example/Ä") != grammar.from_decoded("gitea.example/ä")
    everywhere = Grammar({"*": True, "h.example": False})
    assert everywhere.from_name("other.example/A").path == "a" and everywhere.from_name("h.example/A").path == "A"
    for name in ("github.com/a.git.GIT", "github.com/a/.GIT"):
        with pytest.raises(BadPath):
            grammar.from_name(name)


CHARACTER = st.characters(codec="utf-8", min_codepoint=0x20, exclude_characters="/\\\x7f")
SEGMENT = st.text(CHARACTER, min_size=1, max_size=40)
PATH = st.lists(SEGMENT, min_size=1, max_size=16)


@given(PATH)
def test_names_round_trip(segments: list[str]) -> None:
    """An accepted path keeps its meaning through its name, and its directory is two levels deep."""
    try:
        identity = Identity.from_decoded(f"H.example/{'/'.join(segments)}")
    except BadPath:
        return
    assert Identity.from_name(identity.name) == identity
    assert parse_path(f"/git/{identity.name}/info/refs".encode()).identity == identity
    assert re.fullmatch(r"[A-Za-z0-9._~+@%/-]+", identity.name)
    host, directory = identity.directory_name.split("/")
    assert re.fullmatch(r"[A-Za-z0-9_~+@%=][A-Za-z0-9._~+@%=-]*", directory)
    assert len(host) < 255 and len(directory) < 255 and not directory.endswith(".lock")


def image(identity: Identity, *, separator: str) -> str:
    """Read the name of a directory as the path of another repository."""
    return identity.directory_name.partition("/")[2].removesuffix(".git").replace("=", separator)


@given(
    PATH | st.lists(st.text("ab=%~-./2E", min_size=1, max_size=60), min_size=1, max_size=12),
    st.sampled_from(["/", "=", "%3D", "~"]),
)
def test_no_two_repositories_have_one_directory(segments: list[str], separator: str) -> None:
    """Not even one whose path is what another's directory is called, shortened or not, or that name percent-decoded."""
    with contextlib.suppress(BadPath):
        identity = Identity.from_decoded(f"h.example/{'/'.join(segments)}")
        called = image(identity, separator=separator)
        for path in (called, unquote(called), unquote(unquote(called)), called.replace("%", "=")):
            with contextlib.suppress(BadPath, UnknownPath):
                other = Identity.from_decoded(f"h.example/{path}")
                assert (other == identity) == (other.directory_name == identity.directory_name)


@pytest.mark.parametrize("length", [190, 199, 200, 201, 300, 512])
def test_a_shortened_name_is_no_other_repositorys(length: int) -> None:
    """The repository that is really called as a long one's directory has a directory of its own."""
    many = "/".join(["s"] * 16) + "b" * (length - 31)
    for secret in ("secret/" + "a" * (length - 7), "x/" + "é" * (length // 6), many):
        identity = Identity("h.example", secret)
        called = image(identity, separator="/")
        assert called == secret or identity.directory_name != Identity("h.example", called).directory_name
        # As names were made once: the beginning, a sign and the digest.
        digest = hashlib.sha256(secret.encode()).hexdigest()
        for mark in ("=", "/", "~", "%~", "-", "."):
            other = Identity("h.example", secret.replace("/", "=")[: 199 - len(digest)] + mark + digest)
            assert identity.directory_name != other.directory_name


def test_long_hosts() -> None:
    """A host's directory is one-to-one too, whatever its length and port."""
    host = ".".join(["a" * 62] * 4) + "a"
    hosts = (host, f"{host}:8443", f"{host}:844", "a.example:1", "a.example")
    names = {Identity(each, "r").directory_name for each in hosts}
    assert len(names) == 5 and all(len(name.partition("/")[0]) < 255 and ":" not in name for name in names)


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
    assert Identity.from_url("https://dev.example/o/My%20Project/_git/r").path == "o/My Project/_git/r"
    with pytest.raises(BadPath):
        Identity.from_url("ssh://git@github.com/org/repo")
