"""Looking after a server from the command line; the server is played."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from cachew.cli.admincommands import admin
from cachew.cli.context import Context
from cachew.client.clienterrors import BadUsage, NotCached

NOW = 1_800_000_000.0


class Server:
    """Answers requests by method and path."""

    server = "http://cachew.example"

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def json(self, method: str, url: str, *, expected: object) -> Any:
        self.asked.append(f"{method} {url.removeprefix(self.server)}")
        return json.loads(json.dumps(self.answers[url.removeprefix(self.server).partition("?")[0].rpartition("/")[2]]))


class Administrator(Context):
    """Someone at a terminal, before a server that is played.

    :param server: it.
    """

    def __init__(self, server: Server) -> None:
        self.secrets: list[str] = []
        super().__init__(url=None, authorization=None, platform=False, stamp="", learnt=self.secrets.append)
        self.played = server
        self.lines: list[str] = []
        self.said: list[str] = []

    def http(self, *_: Any, **__: Any) -> Any:
        """Return the server."""
        return self.played

    def show(self, value: object, lines: Any) -> None:
        """Keep what is shown."""
        self.lines += lines

    def say(self, text: str) -> None:
        """Keep what is said."""
        self.said.append(text)


def run(server: Server, *words: object) -> Administrator:
    """Run a command, and return who has seen what came of it."""
    context = Administrator(server)
    admin.main([str(word) for word in words], obj=context, standalone_mode=False)
    return context


def repository(name: str, **more: Any) -> Mapping[str, Any]:
    """Return what a server says of a repository."""
    return {"name": name, "state": "ready", "stale": False, "checked": None, "error": "", **more}


def test_a_token_is_read_from_its_file(tmp_path: Path) -> None:
    """Without what is around it, and no message will show it."""
    (tmp_path / "token").write_text("  the-token\n")
    context = run(Server(repositories={"repositories": []}), "--token-file", tmp_path / "token", "repositories")
    assert context.authorization == "Bearer the-token"
    assert context.secrets == ["the-token"]
    assert context.said == ["no such repositories"]


def test_a_file_that_holds_no_text_is_told_like_any_wrong_token(tmp_path: Path) -> None:
    """It is no failure that nobody has foreseen."""
    (tmp_path / "token").write_bytes(b"\xff\xfe\x00binary")
    context = Administrator(Server(repositories={"repositories": []}))
    admin.main(["--token-file", str(tmp_path / "token"), "repositories"], obj=context, standalone_mode=False)
    with pytest.raises(BadUsage, match="can't be sent"):
        Context(url="http://127.0.0.1:1", authorization=context.authorization, platform=False, stamp="").http().request(
            "GET", "http://127.0.0.1:1/"
        )


def test_the_server_as_a_whole() -> None:
    """What is wrong, what was served, what is stored, what is done."""
    overview = {
        "now": NOW,
        "started": NOW - 7199,
        "waiting": 3,
        "troubles": ["a tier fails"],
        "served": {"mirror": 2, "cache": 1},
        "caches": [{"name": "disk", "objects": 5, "size": 1000}],
        "work": [{"kind": "fetch", "repository": "git.example/r", "began": NOW - 5}],
    }
    assert run(Server(overview=overview), "status").lines == [
        "up for 119 min, 3 requests waiting",
        "not in order: a tier fails",
        "served from cache: 1",
        "served from mirror: 2",
        "disk: 5 objects, 1.0 kB",
        "fetch of git.example/r for 5 s",
    ]


def test_what_is_mirrored() -> None:
    """State, age of the last check, name, and what is wrong, by what is asked for."""
    found = [
        repository("git.example/a"),
        repository("git.example/b", stale=True, checked=0, error="is down"),
        repository("git.example.evil/c", state="cloning"),
    ]
    server = Server(repositories={"repositories": found})
    assert [line.split()[0] for line in run(server, "repositories").lines] == ["ready", "ready*", "cloning"]
    (stale,) = run(server, "repositories", "--state", "stale").lines
    assert stale.endswith("d  git.example/b  is down")
    (cloning,) = run(server, "repositories", "--state", "cloning", "--state", "error").lines[1:]
    assert cloning == "cloning      never  git.example.evil/c"
    assert len(run(server, "repositories", "--upstream", "git.example").lines) == 2


def test_one_of_them() -> None:
    """All that is known, in words."""
    known = {"name": "git.example/a", "ready": True, "error": "", "size": 5, "findings": {"badTree": 2}, "none": {}}
    assert run(Server(repositories=known), "show", "https://git.example/a.git").lines == [
        *("name: git.example/a", "ready: true", "error: none", "size: 5", "findings: badTree (2)", "none: none")
    ]
    with pytest.raises(NotCached):
        run(Server(), "show", "nothing")


@pytest.mark.parametrize("action", ["fetch", "snapshot", "repack", "scrub", "forget", "add"])
def test_an_action_is_begun(action: str) -> None:
    """To mirror something is to fetch it."""
    asked = "fetch" if action == "add" else action
    server = Server(**{asked: {"repository": "git.example/a"}})
    assert run(server, action, "git.example/a").said == [f"{action} of git.example/a has begun"]
    assert server.asked == [f"POST /admin/repositories/git.example/a/{asked}"]


@pytest.mark.parametrize("count", [0, 1, 50])
def test_the_last_lines_of_the_log(count: int) -> None:
    """As many as are wanted, which may be none."""
    lines = [f"line {number}" for number in range(60)]
    shown = run(Server(log={"lines": lines, "last": 60}), "tail", "-n", count).lines
    assert shown == lines[60 - count :]


@pytest.mark.parametrize("problems", [[], ["git.fetch-wait: must be more"]])
def test_a_reload_tells_what_counts_now(problems: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """And exits with 1 when nothing has changed because of a mistake."""
    answer = {"applied": ["log.level"], "waiting": ["state"], "problems": problems}
    context = Administrator(Server(reload=answer))
    status = admin.main(["reload"], obj=context, standalone_mode=False)
    assert context.lines == ["counts now: log.level", "counts from the next start: state"]
    assert (status, capsys.readouterr().err.split("\n")[:-1]) == (len(problems), problems)


def test_a_level_that_there_is_not() -> None:
    """It is refused before anybody is asked."""
    with pytest.raises(click.UsageError):
        run(Server(), "log-level", "loud")
