"""``cachew git setup``, ``unsetup`` and ``doctor`` with a user's real git."""

import subprocess
from pathlib import Path

import pytest

from cachew.cli.main import run
from tests.fakes.cachew_server import running_server
from tests.functional.gitcgi import git_environment

SERVER = "http://cachew.example"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's empty home."""
    for name, value in git_environment(tmp_path, {}).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def git(*words: str, stdin: str = "") -> str:
    """Run the user's git."""
    return subprocess.run(["git", *words], input=stdin, capture_output=True, text=True, check=True).stdout


def effective(home: Path, url: str) -> str:
    """Return where git goes for a URL."""
    return git("-C", str(home), "ls-remote", "--get-url", url).strip()


def test_setup_and_unsetup(home: Path) -> None:
    """Setup replaces what it has written before, and after unsetup the file is what it was."""
    git("config", "--global", "user.name", "A U Thor")
    before = (home / ".gitconfig").read_bytes()
    assert run(["git", "setup", f"{SERVER}/", "--fast"]) == 0
    assert effective(home, "https://github.com/org/repo") == f"cachew::{SERVER}/git/github.com/org/repo"
    assert git("config", "protocol.cachew.allow") == "always\n"
    assert run(["git", "setup", "http://other.example:81", "git.example", "github.com"]) == 0
    assert effective(home, "https://github.com/org/repo") == "http://other.example:81/git/github.com/org/repo"
    assert effective(home, "https://git.example/org/repo") == "http://other.example:81/git/git.example/org/repo"
    assert effective(home, "https://gitlab.com/org/repo") == "https://gitlab.com/org/repo"
    assert run(["git", "unsetup"]) == 0
    assert (home / ".gitconfig").read_bytes() == before
    assert run(["git", "unsetup"]) == 0


def test_setup_says_nothing_twice(home: Path) -> None:
    """However often it is run, and whatever the user has written for the helper himself."""
    git("config", "--global", "url.cachew::http://mine.example/git/x/.insteadOf", "https://x/")
    assert run(["git", "setup", SERVER, "--fast"]) == 0
    once = git("config", "--global", "--list")
    assert run(["git", "setup", SERVER, "--fast"]) == 0
    assert sorted(git("config", "--global", "--list").split("\n")) == sorted(once.split("\n"))
    assert effective(home, "https://x/repo") == "cachew::http://mine.example/git/x/repo"


def test_the_credentials_of_the_host_are_asked_for(home: Path) -> None:
    """What the user's helper has for the host is given to the server, and hears how that went."""
    (home / ".git-credentials").write_text("https://alice:pw@github.com\n")
    git("config", "--global", "credential.https://github.com.helper", "store")
    assert run(["git", "setup", SERVER]) == 0
    asked = "protocol=http\nhost=cachew.example\npath=git/github.com/org/repo\n\n"
    filled = git("credential", "fill", stdin=asked)
    assert "username=alice\npassword=pw\n" in filled
    git("credential", "reject", stdin=filled + "path=git/github.com/org/repo\n")
    assert (home / ".git-credentials").read_text().strip() == ""


@pytest.mark.parametrize("words", [["ftp://x"], ["http://u:p@x"], [SERVER, 'a".b'], [SERVER, "a/b"], []])
def test_what_is_no_server_or_host(home: Path, words: list[str]) -> None:
    """Nothing is written for what could be meant otherwise."""
    assert run(["git", "setup", *words]) == 1
    assert not (home / ".gitconfig").exists()


def test_the_doctor(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each thing that is wrong has a line that says what to do; a server that is none is told from one that is away."""
    with running_server() as server:
        assert run(["--url", server.url, "doctor"]) == 1
        said = capsys.readouterr().out
        assert "BAD  server" in said and "no cachew server" in said
        assert f"`cachew git setup {server.url}`" in said
    assert run(["git", "setup", "http://127.0.0.1:1", "github.com"]) == 0
    assert run(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "BAD  server: cannot talk to the server at http://127.0.0.1:1" in said
    assert "ok   configuration" in said and "ok   credentials" in said


def test_the_doctor_looks_at_the_repository_here(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What setup has written for one repository alone counts in it."""
    git("init", "-q", str(home / "repo"))
    monkeypatch.chdir(home / "repo")
    assert run(["git", "setup", "http://127.0.0.1:1", "github.com", "--local"]) == 0
    run(["doctor"])
    assert "ok   configuration: git goes to http://127.0.0.1:1" in capsys.readouterr().out
