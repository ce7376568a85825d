"""How this server names itself, and its requests as parts of a trace."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers

from cachew.upstream.useragent import TracedAgent, agent_key, user_agent
from tests.fakes.settled import failure_of, value_of


class Agent:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answer: Deferred[Any] = Deferred()

    def request(self, *words: Any) -> Deferred[Any]:
        self.asked.append(words)
        return self.answer


def test_it_begins_as_gits_does() -> None:
    """Some hosts answer nobody else."""
    assert user_agent("2.39.5", "1.0") == "git/2.39.5 cachew/1.0"


@pytest.mark.parametrize(
    ("shown", "key"), [(None, ""), ("git/2.39.5", ""), ("git/2.47", ""), ("curl/8", "curl/8"), ("JGit/6", "JGit/6")]
)
def test_all_versions_of_git_share_an_answer_and_others_have_their_own(shown: str | None, key: str) -> None:
    """Nobody gets the refusal that another program has met with."""
    assert agent_key(shown) == key


def test_a_request_goes_on_as_it_was_and_so_does_its_end() -> None:
    """Headers that were handed over are not changed."""
    inner, headers = Agent(), Headers({"X": ["y"]})
    agent: Any = inner
    asked = TracedAgent(agent).request(b"GET", b"https://git.example/r", headers)
    ((method, uri, sent, body),) = inner.asked
    assert (method, uri, body) == (b"GET", b"https://git.example/r", None)
    assert sent.getRawHeaders("X") == ["y"] and sent is not headers
    inner.answer.errback(OSError("gone"))
    assert isinstance(failure_of(asked), OSError)


def test_an_answer_is_handed_on() -> None:
    """The very same."""
    inner = Agent()
    agent: Any = inner
    asked = TracedAgent(agent).request(b"GET", b"https://git.example/r")

    class Answer:
        code = 200

    answer: Any = Answer()
    inner.answer.callback(answer)
    assert value_of(asked) is answer
