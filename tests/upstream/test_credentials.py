"""The server's own credentials: where they go and where they come from."""

import os
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import CredentialUnavailable, UpstreamUnreachable
from cachew.plumbing.process import Processes
from cachew.upstream.credentials import Credentials, CredentialSource, covers
from cachew.upstream.credentialsources import CredentialCommand, NetrcFile, StaticToken, TokenCredentialFile, basic
from tests.cleanliness import has_ended
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads

URL = "https://git.example/org/repo"


def now(coroutine: Any) -> Any:
    """Return what a coroutine has come to without waiting."""
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]


@pytest.mark.parametrize(
    ("prefix", "covered"),
    [
        ("https://git.example", True),
        ("https://git.example/", True),
        ("https://GIT.example:443/org", True),
        ("https://git.example/org/repo", True),
        ("https://git.example/or", False),
        ("https://git.example/org/repo/x", False),
        ("http://git.example/", False),
        ("https://git.example:8443/", False),
        ("https://git.example.evil/", False),
        ("git.example", False),
    ],
)
def test_covers(prefix: str, covered: bool) -> None:
    """A prefix covers the same origin and whole path segments."""
    assert covers(prefix, URL) is covered


@pytest.mark.parametrize("prefix", ["https://h.example/o/My%20Project/", "https://h.example/o/My Project"])
def test_covers_paths_however_they_are_encoded(prefix: str) -> None:
    """A prefix is compared with a URL after decoding both, and never past a dot segment."""
    assert covers(prefix, "https://h.example/o/My%20Project/_git/r")
    assert not covers(prefix, "https://h.example/o/My%20Project/%2e%2e/r") and not covers(
        prefix, "https://h.example/o/My"
    )


def test_covers_in_any_case_where_it_makes_no_difference() -> None:
    """The prefix of a host that ignores case covers the URL that is made of a name in lower case; no other's does."""
    mixed, asked = "https://git.example/MyOrg/", "https://git.example/myorg/repo"
    assert covers(mixed, asked, ignore_case=True) and not covers(mixed, asked)
    token = StaticToken(token="t", username="u")
    ignoring = Credentials(sources=[(mixed, token)], ignores_case=lambda url: True)
    assert now(ignoring.header_for(asked)) is not None
    assert now(Credentials(sources=[(mixed, token)]).header_for(asked)) is None


class Nothing:
    async def header_for(self, url: str) -> str | None:
        return None


def test_longest_prefix() -> None:
    """The longest prefix that has a credential gives it."""
    credentials = Credentials(
        sources=[
            ("https://git.example", StaticToken(token="host")),
            ("https://git.example/org", StaticToken(token="org", username="bot")),
            ("https://git.example/org/repo", Nothing()),
        ]
    )
    assert now(credentials.header_for(URL)) == basic("bot", "org")
    assert now(credentials.header_for("https://git.example/x")) == basic("x-access-token", "host")
    assert now(credentials.header_for("https://other.example/x")) is None


def test_git_sees_it_for_its_url_only(tmp_path: Path) -> None:
    """git itself finds the header for the repository, and for nothing else."""
    credentials = Credentials(sources=[("https://git.example", StaticToken(token="secret"))])
    before = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b", "GIT_CONFIG_VALUE_0": "c"}
    environment = {**before, **now(credentials.git_environment(URL, before))}

    def seen(url: str, key: str = "http.extraHeader") -> str:
        argv = ["git", "config", "--get-urlmatch", key, url]
        done = subprocess.run(
            argv, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **environment}, capture_output=True, cwd=tmp_path
        )
        return done.stdout.decode().strip()

    header = f"Authorization: {basic('x-access-token', 'secret')}"
    for url in (URL, f"{URL}/info/refs"):
        assert seen(url) == header
    for url in (
        f"{URL}.git/info/lfs/objects/batch",
        "https://git.example/org/other",
        "https://evil.example/org/repo",
        "http://git.example/org/repo",
    ):
        assert seen(url) == ""
    assert environment["GIT_CONFIG_VALUE_0"] == "c"
    assert now(credentials.git_environment("https://other.example/x")) == {}


def test_secrets_are_not_shown() -> None:
    """No object that holds a token shows it."""
    source = StaticToken(token="hunter2")
    assert "hunter2" not in repr(source) + repr(Credentials(sources=[("https://x", source)]))


def test_bearer() -> None:
    """A token without a user name is sent as Bearer, and must be fit for a header."""
    assert now(StaticToken(token="abc", username="").header_for(URL)) == "Bearer abc"
    with pytest.raises(ValueError, match="not a usable token"):
        StaticToken(token="a\r\nX-Evil: 1")


def test_token_file(tmp_path: Path) -> None:
    """A token file is read anew each time; without a usable token it says so."""
    path = tmp_path / "token"
    source = TokenCredentialFile(path=path, in_thread=InlineThreads())
    with pytest.raises(UpstreamUnreachable, match="No such file"):
        now(source.header_for(URL))
    for token in ("one", "two"):
        path.write_text(f"{token}\n")
        assert now(source.header_for(URL)) == basic("x-access-token", token)
    path.write_text("\n")
    with pytest.raises(UpstreamUnreachable, match="no usable token"):
        now(source.header_for(URL))


def test_netrc(tmp_path: Path) -> None:
    """The host's own entry of a netrc is used, the default never; its errors don't quote it."""
    path = tmp_path / "netrc"
    source = NetrcFile(path=path, in_thread=InlineThreads())
    path.write_text("machine git.example login me password p4ss\ndefault login any password any\n")
    assert now(source.header_for(URL)) == basic("me", "p4ss")
    assert now(source.header_for("https://other.example/x")) is None
    assert now(source.header_for("https://default/x")) is None
    path.write_text('machine git.example login me password ""')
    assert now(source.header_for(URL)) is None, "an empty password is none"
    path.write_text("machine git.example login me hunter2 x")
    with pytest.raises(UpstreamUnreachable, match="malformed") as caught:
        now(source.header_for(URL))
    assert "hunter2" not in str(caught.value)
    path.unlink()
    with pytest.raises(UpstreamUnreachable, match="No such file"):
        now(source.header_for(URL))


def command(script: str, clock: FakeClock | None = None) -> tuple[CredentialCommand, Processes]:
    """Return a credential command that is a line of Python."""
    from twisted.internet import reactor

    processes = Processes(reactor=reactor)
    source = CredentialCommand(
        argv=[sys.executable, "-c", script], environment={}, processes=processes, clock=clock or FakeClock(now=1000.0)
    )
    return source, processes


ECHO = """import sys
asked = dict(line.split("=", 1) for line in sys.stdin.read().split())
assert sys.argv[1] == "get"
print("username=" + asked["protocol"] + asked["host"]); print("password=" + asked["path"])
"""


@pytest_twisted.ensureDeferred
async def test_command() -> None:
    """A credential command is asked in git's own protocol, once for those who ask together."""
    source, _ = command(ECHO)
    first, second = (Deferred.fromCoroutine(source.header_for(URL)) for _ in range(2))
    header = await first
    assert header is not None and await second == header
    assert b64decode(header.removeprefix("Basic ")) == b"httpsgit.example:org/repo"


@pytest_twisted.ensureDeferred
async def test_a_command_that_hangs_leaves_no_orphan(tmp_path: Path) -> None:
    """A credential command that takes too long is ended with whatever it has started."""
    from twisted.internet import reactor

    note = tmp_path / "pid"
    source = CredentialCommand(
        argv=["sh", "-c", f"sleep 60 & echo $! > {note}; wait"],
        environment={"PATH": os.environ["PATH"]},
        processes=Processes(reactor=reactor),
        clock=FakeClock(now=1000.0),
        timeout=0.3,
    )
    with pytest.raises(UpstreamUnreachable, match="credential command"):
        await source.header_for(URL)
    assert has_ended(int(note.read_text()))


@pytest_twisted.ensureDeferred
async def test_command_expiry(tmp_path: Path) -> None:
    """An answer is used until it expires."""
    clock = FakeClock(now=1000.0)
    count = tmp_path / "count"
    source, _ = command(
        f"open({str(count)!r}, 'a').write('x'); print('username=u\\npassword=p\\npassword_expiry_utc=1100')", clock
    )
    for time in (1000.0, 1060.0, 1080.0):
        clock.ahead = time
        await source.header_for(URL)
    assert count.read_text() == "xx"


@pytest_twisted.ensureDeferred
async def test_command_knows_none() -> None:
    """A command that answers nothing has no credential."""
    source, _ = command("print('quit=1')")
    assert await source.header_for(URL) is None


@pytest_twisted.ensureDeferred
async def test_command_fails() -> None:
    """A failing command is named with its exit code and nothing that it said."""
    source, _ = command("import sys; sys.exit('hunter2')")
    with pytest.raises(UpstreamUnreachable, match="ended with 1") as caught:
        await source.header_for(URL)
    assert "hunter2" not in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_an_empty_password_of_a_command_is_none() -> None:
    """A command that prints an empty password knows no credential."""
    source, _ = command("print('username=me'); print('password=')")
    assert await source.header_for(URL) is None


@pytest_twisted.ensureDeferred
async def test_a_command_that_is_configured_with_get() -> None:
    """The word is said once."""
    from twisted.internet import reactor

    source = CredentialCommand(
        argv=[sys.executable, "-c", f"import sys; assert sys.argv[1:] == ['get']\n{ECHO}", "get"],
        environment={},
        processes=Processes(reactor=reactor),
        clock=FakeClock(),
    )
    assert await source.header_for(URL) is not None


@pytest_twisted.ensureDeferred
async def test_a_refused_password_is_asked_for_anew(tmp_path: Path) -> None:
    """What a command said is kept until the upstream refuses it; another's refusal changes nothing."""
    password = tmp_path / "password"
    password.write_text("old")
    source, _ = command(f"print('username=u\\npassword=' + open({str(password)!r}).read())")
    credentials = Credentials(sources=[("https://git.example/", source)])
    old = await credentials.header_for(URL)
    password.write_text("new")
    assert old is not None and await credentials.header_for(URL) == old
    assert await credentials.renewed(URL, basic("u", "another")) == old
    assert await credentials.renewed(URL, old) == basic("u", "new") == await credentials.header_for(URL)
    assert await credentials.renewed(URL, basic("u", "new")) is None


class Gone:
    """A source that is in trouble."""

    async def header_for(self, url: str) -> str | None:
        raise CredentialUnavailable(url, "gone")


def test_one_sources_trouble_is_no_others() -> None:
    """A shorter prefix's credential is taken when the longer one's can't be had; without another that is an error."""
    sources: list[tuple[str, CredentialSource]] = [
        ("https://git.example/org", Gone()),
        ("https://git.example/", StaticToken(token="t")),
    ]
    assert now(Credentials(sources=sources).header_for(URL)) == basic("x-access-token", "t")
    with pytest.raises(CredentialUnavailable):
        now(Credentials(sources=sources[:1]).header_for(URL))
