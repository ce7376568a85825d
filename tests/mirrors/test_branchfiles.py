"""Branches that are moved without a process."""

from pathlib import Path

import pytest
import pytest_twisted

from cachew.mirrors import branchfiles
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.refs import RefState, change
from cachew.mirrors.repository import Repository
from tests.functional import repositories

ONE, OTHER = "1" * 40, "2" * 40
BRANCH = "refs/heads/topic/a"


def directory(tmp_path: Path, **branches: str) -> Path:
    (tmp_path / "refs/heads/topic").mkdir(parents=True)
    for name, oid in branches.items():
        (tmp_path / "refs/heads" / name).write_text(f"{oid}\n")
    return tmp_path


def content(tmp_path: Path) -> dict[str, str]:
    return {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}


def test_loose_and_packed_ones_move(tmp_path: Path) -> None:
    """Whether a branch is a file or a line of packed-refs, it is a file that says where it is afterwards."""
    place = directory(tmp_path, main=ONE)
    (place / "packed-refs").write_text(f"# pack-refs with: peeled \n{ONE} {BRANCH}\n")
    (place / "refs/heads/topic").rmdir()
    assert branchfiles.move(place, {"refs/heads/main": OTHER, BRANCH: OTHER})
    found = content(place)
    del found["packed-refs"]
    assert found == {"refs/heads/main": f"{OTHER}\n", BRANCH: f"{OTHER}\n"}


@pytest.mark.parametrize(
    "name", [BRANCH, "refs/heads/topic", "refs/heads/main/below", "refs/tags/v1", "refs/heads/held"]
)
def test_what_is_left_to_git(tmp_path: Path, name: str) -> None:
    """Nothing is moved, and no lock stays, where one is no branch yet, or another process is at it."""
    place = directory(tmp_path, main=ONE, held=ONE)
    (place / "refs/heads/held.lock").write_text("")
    before = content(place)
    assert not branchfiles.move(place, {"refs/heads/main": OTHER, name: OTHER})
    assert content(place) == before


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
@pytest_twisted.ensureDeferred
async def test_a_push_to_a_branch_moves_it_without_a_process(
    runner: GitRunner, tmp_path: Path, object_format: str
) -> None:
    """git reads where it is; what is no commit is refused as git refuses it."""
    plain = repositories.make_repository(tmp_path / "repo.git", commits=2, object_format=object_format)
    repository = Repository(directory=plain.path, object_format=object_format, git=runner)
    new, tree = plain.commit(), plain.git("rev-parse", "main^{tree}")
    old = plain.git("rev-parse", "main~1")
    plain.git("repack", "-adq")
    plain.git("update-ref", "refs/heads/main", old)
    plain.git("pack-refs", "--all")
    started = runner.processes.started
    await repository.ref_updates.apply(
        change(RefState({"refs/heads/main": old}), RefState({"refs/heads/main": new})), 0.0
    )
    assert plain.commit() == new and runner.processes.started == started
    with pytest.raises(Exception, match="non-commit"):
        await repository.ref_updates.apply(
            change(RefState({"refs/heads/main": new}), RefState({"refs/heads/main": tree})), 0
        )
    assert plain.commit() == new
