"""The server's own credentials, from files and commands; what a command says is played."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.plumbing.child import Command, Completed
from cachew.plumbing.errors import CredentialUnavailable, ProcessFailed, TooLarge
from cachew.upstream.credentialsources import KEPT, CredentialCommand, NetrcFile, TokenCredentialFile, basic
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import failure_of, result_of, value_of

URL = "https://git.example/org/repo"
NOW = 1_700_000_000.0
GOOD = basic("bot", "secret")


class World:
    """A credential command that says what a test has it say."""

    def __init__(self) -> None:
        self.clock = FakeClock(now=NOW)
        self.says: bytes | Exception = b"username=bot\npassword=secret\n"
        self.gate: Deferred[None] | None = None
        self.asked: list[str] = []
        self.source = CredentialCommand(
            argv=["helper"], environment={}, processes=cast(Any, self), clock=self.clock, timeout=10.0
        )

    async def run(self, command: Command, *, stdin: bytes, **_: Any) -> Completed:
        """Play the command."""
        assert command.argv == ("helper", "get")
        self.asked.append(stdin.decode())
        if self.gate is not None:
            await self.gate
        if isinstance(self.says, Exception):
            raise self.says
        return Completed(0, None, self.says, b"")

    def header(self, url: str = URL) -> str | None:
        return result_of(self.source.header_for(url))


def test_a_command_is_asked_as_git_does() -> None:
    """Once for a while, for each URL."""
    world = World()
    assert world.header() == world.header() == GOOD
    world.header("http://git.example:8080/x")
    assert world.asked == [
        "protocol=https\nhost=git.example\npath=org/repo\n\n",
        "protocol=http\nhost=git.example:8080\npath=x\n\n",
    ]
    world.clock.advance(KEPT)
    world.header()
    assert len(world.asked) == 3


@pytest.mark.parametrize(
    ("expiry", "seconds"),
    [(f"{NOW + 130:.0f}", 100), (f"{NOW + 10_000_000:.0f}", KEPT), ("soon", KEPT), ("", KEPT), ("9" * 5000, KEPT)],
)
def test_how_long_an_answer_is_good(expiry: str, seconds: float) -> None:
    """Until shortly before it expires, and never for very long, whatever the command says of that."""
    world = World()
    world.says = f"username=bot\npassword=secret\npassword_expiry_utc={expiry}\n".encode()
    assert world.header() == GOOD
    world.clock.advance(seconds - 1)
    world.header()
    assert len(world.asked) == 1
    world.clock.advance(1)
    world.header()
    assert len(world.asked) == 2


@pytest.mark.parametrize("expiry", ["0", f"{NOW:.0f}"])
def test_what_has_expired_already_is_used_once(expiry: str) -> None:
    """The upstream says what it thinks of it."""
    world = World()
    world.says = f"username=bot\npassword=secret\npassword_expiry_utc={expiry}\n".encode()
    assert world.header() == world.header() == GOOD
    assert len(world.asked) == 2


@pytest.mark.parametrize(
    "says", [b"", b"username=bot\n", b"password=x\n", b"username=bot\npassword=\n", b"nonsense", b"\xff\xfe"]
)
def test_a_command_that_knows_none(says: bytes) -> None:
    """It is asked again the next time."""
    world = World()
    world.says = says
    assert world.header() is world.header() is None
    assert len(world.asked) == 2


def test_values_are_taken_as_they_are() -> None:
    """With whatever signs are in them; of two of a name the last counts, as in git."""
    world = World()
    world.says = b"protocol=https\nusername=a\nusername=b\npassword= x=y= \nmore\n"
    assert world.header() == basic("b", " x=y= ")


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (ProcessFailed("helper", 3, "secret words"), "ended with 3"),
        (ProcessFailed("helper", None, "secret words"), "ended by a signal"),
        (TooLarge(1), "said too much"),
    ],
)
def test_a_command_that_fails_is_told_without_its_words(failure: Exception, words: str) -> None:
    """They may be secret."""
    world = World()
    world.says = failure
    with pytest.raises(CredentialUnavailable, match=words) as caught:
        world.header()
    assert "secret words" not in str(caught.value)


def test_many_who_need_it_have_the_command_asked_once() -> None:
    """One who leaves takes it from nobody; when all have left it is broken off."""
    world = World()
    world.gate = Deferred()
    first, second = (Deferred.fromCoroutine(world.source.header_for(URL)) for _ in range(2))
    first.cancel()
    assert isinstance(failure_of(first), CancelledError)
    world.gate.callback(None)
    assert value_of(second) == GOOD
    assert len(world.asked) == 1
    world.clock.advance(KEPT)
    world.gate = Deferred()
    left = Deferred.fromCoroutine(world.source.header_for(URL))
    left.cancel()
    assert isinstance(failure_of(left), CancelledError)
    world.gate = None
    assert world.header() == GOOD


def test_what_an_upstream_has_refused_is_asked_for_anew() -> None:
    """Unless another answer has come since."""
    world = World()
    world.header()
    assert value_of(Deferred.fromCoroutine(world.source.forget(URL, basic("bot", "older")))) is False
    world.header()
    assert len(world.asked) == 1
    assert value_of(Deferred.fromCoroutine(world.source.forget(URL, GOOD))) is False
    world.says = b"username=bot\npassword=newer\n"
    assert world.header() == basic("bot", "newer")


def tokens(path: Path) -> Callable[[], str | None]:
    """Return what reads a token's file."""
    source = TokenCredentialFile(path=path, in_thread=InlineThreads(), username="")
    return lambda: result_of(source.header_for(URL))


@pytest.mark.parametrize("content", [b"", b" \n", b"a b", b"a\nb", b"\xff", "\u00e9".encode(), b"a\0b"])
def test_a_file_that_holds_no_token(tmp_path: Path, content: bytes) -> None:
    """It is not repeated."""
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(CredentialUnavailable, match="holds no usable token"):
        tokens(tmp_path / "token")()


def test_a_file_in_whose_place_is_another_thing(tmp_path: Path) -> None:
    """Or nothing."""
    for path, words in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file")):
        with pytest.raises(CredentialUnavailable, match=words):
            tokens(path)()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("machine git.example login bot password secret\n", GOOD),
        ("default login bot password secret\n", None),
        ("machine other.example login bot password secret\n", None),
        ("machine git.example login bot\n", None),
        ("machine git.example password secret\n", basic("", "secret")),
        ("", None),
    ],
)
def test_the_entry_of_a_host(tmp_path: Path, content: str, found: str | None) -> None:
    """That for everybody else is never used."""
    (tmp_path / "netrc").write_text(content)
    source = NetrcFile(path=tmp_path / "netrc", in_thread=InlineThreads())
    assert result_of(source.header_for("https://GIT.example:8443/org/repo")) == found
    assert result_of(source.header_for("https://default/org/repo")) is None


@pytest.mark.parametrize("content", [b"machine", b"nonsense secret", b"\xff\xfe"])
def test_a_malformed_netrc_is_not_repeated(tmp_path: Path, content: bytes) -> None:
    """Its lines are secret."""
    (tmp_path / "netrc").write_bytes(content)
    source = NetrcFile(path=tmp_path / "netrc", in_thread=InlineThreads())
    with pytest.raises(CredentialUnavailable, match="is malformed") as caught:
        result_of(source.header_for(URL))
    assert "secret" not in str(caught.value)
