"""What is asked of a server's admin routes, and how repositories are named there."""

import json
from collections.abc import Collection
from typing import Any, cast

import pytest

from cachew.client.administration import Administration
from cachew.client.clienterrors import ClientError, NotCached, ServerRefused

SERVER = "https://cachew.example"


class Answer:
    """The answer to a request that is not JSON."""

    reason, headers = "", dict[str, str]()

    def __init__(self, status: int, text: bytes) -> None:
        self.status, self._text, self.closed = status, text, False

    def read(self, most: int) -> bytes:
        """Return its start."""
        return self._text[:most]

    def close(self) -> None:
        """Close it."""
        self.closed = True


class Site:
    """A server that answers as a test says."""

    server = SERVER

    def __init__(self, value: object = None, answer: Answer | None = None) -> None:
        self._value, self._answer = value, answer
        self.asked: list[tuple[str, str]] = []
        self.administration = Administration(http=cast(Any, self))

    def json(self, method: str, url: str, *, expected: Collection[int]) -> Any:
        """Answer with JSON."""
        self.asked.append((method, url.removeprefix(SERVER)))
        return json.loads(json.dumps(self._value))

    def request(self, method: str, url: str) -> Any:
        """Answer with something else."""
        self.asked.append((method, url.removeprefix(SERVER)))
        return self._answer


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("github.com/org/repo", "github.com/org/repo"),
        ("https://github.com/org/repo.git", "github.com/org/repo"),
        (" http://git.example:8080/a/b/ ", "git.example:8080/a/b"),
        ("dev.azure.com/org/My%20Project/_git/repo", "dev.azure.com/org/My%20Project/_git/repo"),
        ("git.example/a b?#é", "git.example/a%20b%3F%23%C3%A9"),
        ("git.example/~user/repo", "git.example/~user/repo"),
    ],
)
def test_a_repository_is_named_as_it_was_found(name: str, path: str) -> None:
    """Copied from a browser, from a config or typed; what an address reserves is encoded."""
    site = Site({"action": "fetch"})
    site.administration.act(name, "fetch")
    assert site.asked == [("POST", f"/admin/repositories/{path}/fetch")]


@pytest.mark.parametrize("name", ["", "repo", "https://", "repo.git/"])
def test_what_names_no_repository_is_asked_of_nobody(name: str) -> None:
    """The advice says how it is written."""
    site = Site({})
    for ask in (site.administration.repository, lambda one: site.administration.act(one, "fetch")):
        with pytest.raises(NotCached) as caught:
            ask(name)
        assert "host/path" in caught.value.advice
    assert site.asked == []


def test_one_repository_is_asked_for_by_its_decoded_name() -> None:
    """The query encodes it again, once."""
    site = Site({"name": "x"})
    assert site.administration.repository("git.example/My%20Project/repo") == {"name": "x"}
    assert site.asked == [("GET", "/admin/repositories?name=git.example%2FMy+Project%2Frepo")]


ALL: list[dict[str, Any]] = [
    {"name": "github.com/a/one", "state": "ready", "error": "", "stale": False},
    {"name": "github.com/a/two", "state": "ready", "error": "broken", "stale": True},
    {"name": "github.company.com/a/b", "state": "cloning", "error": "", "stale": False},
]


@pytest.mark.parametrize(
    ("states", "upstream", "found"),
    [
        ((), "", [0, 1, 2]),
        (("ready",), "", [0, 1]),
        (("error",), "", [1]),
        (("stale", "cloning"), "", [1, 2]),
        ((), "github.com", [0, 1]),
        (("cloning",), "github.com", []),
    ],
)
def test_a_choice_of_repositories(states: tuple[str, ...], upstream: str, found: list[int]) -> None:
    """By any of the states, and by the whole name of the host."""
    chosen = Site({"repositories": ALL}).administration.repositories(states=states, upstream=upstream)
    assert chosen == [ALL[number] for number in found]


def test_the_log_goes_on_from_a_line() -> None:
    """What was asked for is the number of the last line that is known."""
    site = Site({"lines": ["a", 1], "last": 7})
    assert site.administration.log(5) == (["a", "1"], 7) and site.asked == [("GET", "/admin/log?after=5")]


@pytest.mark.parametrize(
    ("level", "asked"), [(None, ("GET", "/admin/log/level")), ("debug", ("PUT", "/admin/log/level?level=debug"))]
)
def test_the_level_is_shown_or_changed(level: str | None, asked: tuple[str, str]) -> None:
    """Either way it is told as it is now."""
    answer = Answer(200, b"DEBUG\n")
    site = Site(answer=answer)
    assert site.administration.log_level(level) == "debug" and site.asked == [asked] and answer.closed


def test_a_level_that_is_refused() -> None:
    """The answer is closed, and its words are told."""
    answer = Answer(400, b"the log level must be one of debug, info")
    with pytest.raises(ServerRefused, match="must be one of"):
        Site(answer=answer).administration.log_level("loud")
    assert answer.closed


@pytest.mark.parametrize("value", [None, [], "text", 7])
def test_an_answer_of_another_kind_is_no_answer(value: object) -> None:
    """Some other server may be at the address."""
    with pytest.raises(ClientError, match="not what cachew answers"):
        Site(value).administration.overview()
