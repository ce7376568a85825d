"""Git for the repository that git itself has started us for: its environment, its config, nothing changed."""

from collections.abc import Mapping
from pathlib import Path

from cachew.client.gitcommand import Git, settings_told

HERE = Path(".")


class RepositoryGit(Git):
    """The git program, as whoever started this process has set it up.

    :param program: its name.
    :param environ: the environment, with ``GIT_DIR``.
    """

    def __init__(self, *, program: str, environ: Mapping[str, str]) -> None:
        super().__init__(program=program, environ=environ)
        self._as_given = dict(environ)

    def values(self, *arguments: str) -> "list[tuple[str, str]]":
        """Return what ``git config --null ARGUMENTS`` prints, each setting as its name and value."""
        return settings_told(self.run(HERE, "config", "--null", *arguments, check=False).stdout)

    def _environment(self, settings: Mapping[str, str]) -> "dict[str, str]":
        # A prompt would come again when git itself asks; whoever answers without one is asked.
        return {**self._as_given, "GIT_TERMINAL_PROMPT": "0"}

    def _prompting(self) -> "dict[str, str]":
        return {}
