"""What happens to a checkout's own files when it can't be replaced after all."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cachew.client.clienterrors import GitFailed
from cachew.client.existing import ExistingCheckout


class GitThatEnds:
    """Tells of two ignored files and of a branch, and ends in some way when a setting is to be written.

    :param end: how.
    """

    def __init__(self, end: BaseException) -> None:
        self._end = end

    def run(self, directory: Path, *words: str, check: bool = True) -> SimpleNamespace:
        """Answer a command."""
        if "--replace-all" in words:
            raise self._end
        said = {"ls-files": b"keys.env\0build/\0", r"^branch\.": b"branch.main.remote\norigin\0"}
        stdout = next((out for word, out in said.items() if word in words), b"")
        return SimpleNamespace(returncode=0, stdout=stdout)


@pytest.mark.parametrize(
    "end", [GitFailed("config", "error: could not lock config file"), KeyboardInterrupt(), OSError(28, "No space left")]
)
def test_what_git_ignores_is_back_however_it_ends(tmp_path: Path, end: BaseException) -> None:
    """The fresh checkout is thrown away then, and nobody else has those files."""
    old, made = tmp_path / "old", tmp_path / "made"
    for directory in (old / ".git", old / "build", made / ".git"):
        directory.mkdir(parents=True)
    (old / "keys.env").write_text("mine")
    (old / "build" / "result").write_text("mine, too")
    with pytest.raises(BaseException) as caught:
        ExistingCheckout(directory=old, git=cast(Any, GitThatEnds(end))).replace(made)
    assert caught.value is end or caught.value.__cause__ is end
    assert (old / "keys.env").read_text() == "mine" and (old / "build" / "result").read_text() == "mine, too"
    assert [path.name for path in made.iterdir()] == [".git"]
