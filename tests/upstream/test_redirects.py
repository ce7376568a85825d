"""Where a repository's URL ends and what is asked of it begins."""

import pytest

from cachew.upstream.redirects import split_operation

BASE = "https://git.example/org/repo"


@pytest.mark.parametrize(
    "operation",
    [
        "/info/refs?service=git-upload-pack",
        "/info/lfs/objects/batch",
        "/objects/info/packs",
        "/objects/info/http-alternates",
        f"/objects/ab/{'c' * 38}",
        f"/objects/pack/pack-{'d' * 40}.idx",
    ],
)
def test_what_is_asked_is_told_from_the_repository(operation: str) -> None:
    """Also of those that are served as files."""
    assert split_operation(BASE + operation) == (BASE, operation)


@pytest.mark.parametrize("path", ["objects/pack/one", "objects/info/two", "objects/ab/three", "o/objects/ad/x.git"])
def test_a_repository_below_a_directory_called_objects(path: str) -> None:
    """Two of them are not the same one, or a credential for one would be shown for the other."""
    assert split_operation(f"https://git.example/{path}") == (f"https://git.example/{path}", "")
