"""The repositories that other tests start from."""

from pathlib import Path

from tests.functional.repositories import (
    Repository,
    add_pull,
    delete_branch,
    make_repository,
    move_branch,
    push_commit,
    unadvertised_commit,
)


def test_a_repository_is_made_as_asked(tmp_path: Path) -> None:
    """Commits, branches and annotated tags are there, and the same in every run."""
    one = make_repository(tmp_path / "one.git", commits=4, branches=("trunk", "dev"), tags=("v1", "v2"))
    two = make_repository(tmp_path / "two.git", commits=4, branches=("trunk", "dev"), tags=("v1", "v2"))
    assert one.refs() == two.refs()
    assert set(one.refs()) == {"refs/heads/trunk", "refs/heads/dev", "refs/tags/v1", "refs/tags/v2"}
    assert one.git("rev-list", "--count", "HEAD") == "4"
    assert one.git("symbolic-ref", "HEAD") == "refs/heads/trunk"
    assert one.git("cat-file", "-t", "refs/tags/v1") == "tag"
    assert one.git("fsck", "--strict") == ""


def test_sha256_and_empty_repositories(tmp_path: Path) -> None:
    """The object format is the one asked for, and a repository may have no commits."""
    assert len(make_repository(tmp_path / "sha256.git", object_format="sha256").commit()) == 64
    assert make_repository(tmp_path / "empty.git", commits=0).refs() == {}


def test_changes_are_made_as_people_make_them(tmp_path: Path) -> None:
    """Commits are pushed, branches moved and deleted, pull requests added, commits left without a ref."""
    repository = make_repository(tmp_path / "repository.git", commits=2, branches=("main", "dev"))
    first = repository.commit()
    second = push_commit(repository, message="second", name="file", data=b"contents")
    assert repository.git("rev-list", "-2", "HEAD").split() == [second, first]
    assert repository.git("show", "HEAD:file") == "contents"
    push_commit(repository, "fresh")
    move_branch(repository, "main", first)
    delete_branch(repository, "dev")
    pull, hidden = add_pull(repository, 3), unadvertised_commit(repository)
    refs = repository.refs()
    assert (refs["refs/heads/main"], refs["refs/pull/3/head"]) == (first, pull)
    assert set(refs) == {"refs/heads/main", "refs/heads/fresh", "refs/pull/3/head"}
    assert repository.git("cat-file", "-t", hidden) == "commit"


def test_the_big_one_is_big(big: Repository) -> None:
    """The big repository has more than 10,000 commits and 100 MB of packs."""
    assert int(big.git("rev-list", "--count", "HEAD")) > 10_000
    assert sum(pack.stat().st_size for pack in big.path.glob("objects/pack/*.pack")) > 100_000_000
