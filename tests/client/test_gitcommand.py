"""How the client runs git: its environment, its settings, what it prints. The program is one that shows what it got."""

import os
import shutil
from pathlib import Path

import pytest

from cachew.client.clienterrors import GitFailed
from cachew.client.gitcommand import Git
from cachew.client.repositorygit import RepositoryGit

ANYWHERE = Path("/")


def shown(git: Git, **options: object) -> dict[str, str]:
    """Return the environment that a command gets: ``env -C DIR`` runs a program elsewhere, as ``git -C`` does."""
    said = git.run(ANYWHERE, "env", "-0", **options).stdout.decode("utf-8", "surrogateescape")  # type: ignore[arg-type]
    return dict(entry.split("=", 1) for entry in said.split("\0") if entry)


def settings_of(environment: dict[str, str]) -> list[tuple[str, str]]:
    """Return the settings that git would take from it, in their order."""
    count = range(int(environment["GIT_CONFIG_COUNT"]))
    return [(environment[f"GIT_CONFIG_KEY_{n}"], environment[f"GIT_CONFIG_VALUE_{n}"]) for n in count]


def with_path(**environ: str) -> Git:
    """Return the program with the environment of a user."""
    return Git(program="env", environ={"PATH": os.environ["PATH"], **environ})


def test_nothing_of_another_repository_reaches_git() -> None:
    """A hook that runs the client has an environment for its own repository; how to connect stays as it is."""
    given = {"GIT_DIR": "/x", "GIT_INDEX_FILE": "i", "GIT_CONFIG_PARAMETERS": "'a.b=c'", "HOME": "/home/user"}
    given |= {"GIT_SSL_NO_VERIFY": "1", "GIT_SSH_COMMAND": "ssh -v", "GIT_CONFIG_GLOBAL": "/dev/null"}
    environment = shown(with_path(**given))
    assert not {"GIT_DIR", "GIT_INDEX_FILE", "GIT_CONFIG_PARAMETERS"} & set(environment)
    assert environment["GIT_SSL_NO_VERIFY"] == "1"
    assert environment["GIT_SSH_COMMAND"] == "ssh -v"
    assert environment["GIT_CONFIG_GLOBAL"] == "/dev/null"
    assert environment["HOME"] == "/home/user"
    assert environment["LC_ALL"] == "C"
    assert environment["GIT_LFS_SKIP_SMUDGE"] == "1"


def test_ours_count_after_the_user_s_settings() -> None:
    """Of two of the same name git takes the last: no hook of his runs, and the command's own come at the end."""
    given = {"GIT_CONFIG_COUNT": "3", "GIT_CONFIG_KEY_0": "core.hooksPath", "GIT_CONFIG_VALUE_0": "/evil"}
    given |= {"GIT_CONFIG_KEY_1": "user.name", "GIT_CONFIG_KEY_2": "a.b", "GIT_CONFIG_VALUE_2": ""}
    found = settings_of(shown(with_path(**given), settings={"http.x/.extraHeader": "Authorization: secret"}))
    assert found[:2] == [("core.hooksPath", "/evil"), ("a.b", "")]
    assert found[2:].count(("core.hooksPath", "/dev/null")) == 1
    assert found[-1] == ("http.x/.extraHeader", "Authorization: secret")


@pytest.mark.parametrize("count", ["", "x", "-1"])
def test_a_count_of_settings_that_is_none(count: str) -> None:
    """It is passed over, with what it would count."""
    found = settings_of(shown(with_path(GIT_CONFIG_COUNT=count, GIT_CONFIG_KEY_0="a.b", GIT_CONFIG_VALUE_0="c")))
    assert ("a.b", "c") not in found


def test_who_may_be_asked() -> None:
    """Nobody, but where that is allowed, unless the user has forbidden it himself."""
    assert shown(with_path(GIT_TERMINAL_PROMPT="1"))["GIT_TERMINAL_PROMPT"] == "0"
    assert shown(with_path(), prompts=True)["GIT_TERMINAL_PROMPT"] == "1"
    assert shown(with_path(GIT_TERMINAL_PROMPT="0"), prompts=True)["GIT_TERMINAL_PROMPT"] == "0"


def test_arguments_of_any_bytes() -> None:
    """What is no UTF-8 goes to git and comes back as it is."""
    assert with_path().text(ANYWHERE, "printf", "%s\n\n", "r\udcc3v\u2028x") == "r\udcc3v\u2028x"


def test_a_failure_is_told_with_what_git_said() -> None:
    """Unless the caller wants to see for himself."""
    git = with_path()
    with pytest.raises(GitFailed, match="git sh failed: two"):
        git.run(ANYWHERE, "sh", "-c", "echo two >&2; exit 3")
    assert git.run(ANYWHERE, "sh", "-c", "exit 3", check=False).returncode == 3
    assert git.text(ANYWHERE, "sh", "-c", "echo x; exit 3") == ""


def test_settings_are_read_to_the_nul() -> None:
    """Values may have more than one line, or none at all."""

    class Config(Git):
        """A git whose ``config`` prints some settings."""

        def run(self, directory: Path, *arguments: str, **options: object):  # type: ignore[no-untyped-def]
            assert arguments[0] == "config"
            return super().run(directory, "printf", r"a.b\none\ntwo\0c.d\0", check=False)

    found = [("a.b", "one\ntwo"), ("c.d", "")]
    assert Config(program="env", environ={"PATH": os.environ["PATH"]}).listed(ANYWHERE, "--global") == found


def test_git_that_git_has_started_changes_nothing_of_what_it_was_given() -> None:
    """It is the same repository; only a prompt would come twice."""
    given = {
        "PATH": os.environ["PATH"],
        "GIT_DIR": "/x",
        "GIT_CONFIG_PARAMETERS": "'a.b=c'",
        "GIT_TERMINAL_PROMPT": "1",
    }
    git = RepositoryGit(program="env", environ=given)
    for prompts in (False, True):
        environment = shown(git, prompts=prompts, settings={"a.b": "c"})
        assert environment == {**given, "GIT_TERMINAL_PROMPT": "0"}


RULE = '[Url "https://cachew.example/"]\n\tInsteadOf = https://git\n'


def real_git(home: Path, **environ: str) -> Git:
    """Return git for a user of whom nothing else is known; it tells a file when it runs."""
    given = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_SYSTEM": os.devnull}
    return Git(program=shutil.which("git") or "", environ={**given, "GIT_TRACE": str(home / "trace"), **environ})


@pytest.mark.parametrize("place", [".gitconfig", ".config/git/config", "system", "global", "included", "command"])
def test_finds_rules_wherever_they_stand(tmp_path: Path, place: str) -> None:
    """Of the files that git reads, in one that another includes, or in the environment."""
    environ = {}
    if place == "command":
        environ = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "url.https://cachew.example/.insteadOf"}
        environ["GIT_CONFIG_VALUE_0"] = "https://git"
    elif place == "included":
        (tmp_path / ".gitconfig").write_text("[Include]\n\tpath = more\n")
    elif place in ("system", "global"):
        environ = {f"GIT_CONFIG_{place.upper()}": str(tmp_path / place)}
    file = tmp_path / ("more" if place == "included" else place)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(RULE)
    assert real_git(tmp_path, **environ).rewritings() == [("https://cachew.example/", "https://git")]


def test_git_is_not_asked_where_nothing_can_be_found(tmp_path: Path) -> None:
    """Files without such a word hold no rule."""
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = A U Thor\n")
    assert real_git(tmp_path).rewritings() == []
    assert not (tmp_path / "trace").exists()
