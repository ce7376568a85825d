"""Refs read from their files are those that git lists."""

from pathlib import Path

import pytest

from cachew.mirrors.reftree import loose_refs, read_refs
from cachew.mirrors.shape import misshapen
from cachew.plumbing.errors import CorruptObject
from tests.functional import repositories
from tests.functional.repositories import Repository

BROKEN = (b"", b"0123456789abcdef0123\n", b"\0" * 41, b"0" * 40 + b"\n", b"ref: \0\n", b"[garbage\n")
PLACES = ("refs/heads/", "refs/tags/", "refs/meta/config")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository whose refs are packed."""
    branches = ["main", "a/b", "a-b", "größe", "x.lock2"]
    made = repositories.make_repository(tmp_path / "r.git", commits=2, branches=branches, tags=["v1", "v2"])
    made.git("pack-refs", "--all")
    return made


def listed(repository: Repository) -> list[tuple[str, str, str]]:
    """Return what git lists."""
    form = "--format=%(refname) %(objectname) %(*objectname)"
    lines = [line.split(" ") for line in repository.git("for-each-ref", form, *PLACES).split("\n")]
    return [(fields[0], fields[1], fields[2] if len(fields) > 2 else "") for fields in lines]


def read(repository: Repository, *, peeled: bool = True) -> list[tuple[str, str, str]] | None:
    """Return what is read."""
    found = read_refs(repository.path, PLACES, peeled=peeled)
    return None if found is None else [(ref.name, ref.oid or "", (ref.peeled or "") if peeled else "") for ref in found]


def test_packed_and_loose(repository: Repository) -> None:
    """Loose refs count more than packed ones; both are found, in git's order."""
    assert read(repository) == listed(repository)
    repositories.push_commit(repository, "main")
    repositories.push_commit(repository, "a/new")
    repository.git("update-ref", "refs/meta/config", repository.commit())
    repository.git("update-ref", "refs/other/x", repository.commit())
    (repository.path / "refs/heads/a/gone.lock").touch()
    assert read(repository) == listed(repository)


def test_of_very_many_files_some_are_looked_at(tmp_path: Path) -> None:
    """However many there are, so many and no more are read."""
    for number in range(30):
        (tmp_path / f"refs/heads/{number % 3}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"refs/heads/{number % 3}/{number}").write_text("1" * 40)
    assert len(loose_refs(tmp_path, PLACES, most=12) or ()) == 12
    assert len(loose_refs(tmp_path, PLACES) or ()) == 30


def test_what_only_git_can_tell(repository: Repository) -> None:
    """What a loose tag leads to, where a symbolic ref points, and what more than an id was written."""
    repository.git("tag", "v3")
    assert read(repository) is None and read(repository, peeled=False) is not None
    repository.git("pack-refs", "--all")
    assert read(repository) == listed(repository)
    repository.git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    assert read(repository) is None
    repository.git("symbolic-ref", "--delete", "refs/heads/alias")
    (repository.path / "refs/heads/blank").write_text(f"{repository.commit()} \n\n")
    assert read(repository) is None


@pytest.mark.parametrize("content", BROKEN)
def test_files_that_are_no_refs(repository: Repository, content: bytes) -> None:
    """They are damage, which git passes over, and are found too when somebody looks at all forms."""
    repository.git("symbolic-ref", "refs/heads/a/alias", "refs/heads/main")
    (repository.path / "refs/heads/broken").write_bytes(content)
    assert "refs/heads/broken" not in [name for name, _, _ in listed(repository)]
    with pytest.raises(CorruptObject, match=r"^refs/heads/broken "):
        read(repository)
    config = (repository.path / "config").read_text()
    assert misshapen(repository.path, config=config, digits=40) == ["refs/heads/broken"]


def test_packed_refs_that_do_not_tell(repository: Repository) -> None:
    """A file that does not say what tags lead to leaves that to git."""
    packed = repository.path / "packed-refs"
    lines = [line for line in packed.read_bytes().split(b"\n") if not line.startswith((b"#", b"^"))]
    packed.write_bytes(b"\n".join(lines))
    assert read(repository) is None and read(repository, peeled=False) is not None


@pytest.mark.parametrize(
    "garbage", [b"\0[garbage\n", b"\n", b"^12\n", b"0123 refs/heads/short\n", b"# again\n", b"cut off"]
)
def test_packed_refs_that_are_not_git_s(repository: Repository, garbage: bytes) -> None:
    """What git would stumble over, whatever is asked for, is left to git: it is the one to say that it is damaged."""
    with (repository.path / "packed-refs").open("ab") as file:
        file.write(garbage)
    assert read(repository) is None and read(repository, peeled=False) is None


def test_packed_refs_of_zeros(repository: Repository) -> None:
    """They are damage, at which git itself fails only when it needs the object."""
    with (repository.path / "packed-refs").open("ab") as file:
        file.write(b"0" * 40 + b" refs/heads/zeros\n")
    with pytest.raises(CorruptObject):
        read(repository, peeled=False)
    config = (repository.path / "config").read_text()
    assert misshapen(repository.path, config=config, digits=40) == ["packed-refs"]


def test_nothing(tmp_path: Path) -> None:
    """A repository without refs has none."""
    assert read_refs(repositories.init(tmp_path / "empty.git").path, PLACES, peeled=True) == ()
