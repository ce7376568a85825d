"""Which proxy leads where, and what it is shown."""

from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import CredentialUnavailable
from cachew.upstream.proxies import CredentialsFile, GitConnections, Proxies, Proxy, no_credentials
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import failure_of, value_of

DEFAULT = Proxy("http://proxy.example:3128", no_credentials)
OTHER = Proxy("http://other.example:8080", no_credentials)


@pytest.mark.parametrize(
    ("entry", "url", "direct"),
    [
        ("git.example", "https://git.example/o/r", True),
        ("git.example", "https://code.git.example/o/r", True),
        ("git.example", "https://mygit.example/o/r", False),
        (".git.example", "https://code.git.example/o/r", True),
        ("*.git.example", "https://code.git.example/o/r", True),
        ("GIT.example", "https://git.EXAMPLE/o/r", True),
        ("git.example:8443", "https://git.example:8443/o/r", True),
        ("git.example:8443", "https://git.example/o/r", False),
        ("10.0.0.0/8", "http://10.1.2.3:3000/o/r", True),
        ("10.0.0.0/8", "http://11.1.2.3:3000/o/r", False),
        ("10.1.2.3", "http://10.1.2.3/o/r", True),
        ("fd00::/8", "http://[fd00::1]:3000/o/r", True),
        ("[fd00::1]:3000", "http://[fd00::1]:3000/o/r", True),
        ("*", "https://github.com/o/r", True),
        ("", "https://github.com/o/r", False),
    ],
)
def test_hosts_that_are_reached_directly(entry: str, url: str, direct: bool) -> None:
    """Names stand for what lies below them, addresses for themselves, networks for their addresses."""
    assert (Proxies(default=DEFAULT, direct=[entry]).of(url) is None) == direct


@pytest.mark.parametrize("url", ["http://127.0.0.1:3000/o/r", "http://localhost/o/r", "http://[::1]:3000/o/r"])
def test_loopback_needs_no_proxy(url: str) -> None:
    """What runs on this machine is reached directly, unless it is given a proxy of its own."""
    assert Proxies(default=DEFAULT).of(url) is None
    assert Proxies(default=DEFAULT, own={url: OTHER}).of(url) is OTHER


def test_an_upstream_s_own_proxy_comes_first() -> None:
    """An upstream may have a proxy of its own, or none."""
    own = {"https://git.example/": OTHER, "https://near.example/": None}
    proxies = Proxies(default=DEFAULT, direct=["git.example"], own=own)
    found = [proxies.of(f"https://{host}/o/r") for host in ("git.example", "near.example", "github.com")]
    assert found == [OTHER, None, DEFAULT]


def test_credentials_are_read_each_time(tmp_path: Path) -> None:
    """A password that was changed in the file counts from the next connection on."""
    file = tmp_path / "password"
    proxy = Proxy("http://proxy.example:3128", CredentialsFile(file, InlineThreads()))
    file.write_text("me:pass\n")
    assert value_of(Deferred.fromCoroutine(proxy.authorization())) == b"Basic bWU6cGFzcw=="
    file.write_text("me:p@ss:/w%rd")
    assert value_of(Deferred.fromCoroutine(proxy.url_for_git())) == "http://me:p%40ss%3A%2Fw%25rd@proxy.example:3128"
    assert "p@ss" not in repr(proxy)


@pytest.mark.parametrize("content", [None, "", "password", "a:b\nc:d"])
def test_credentials_that_can_not_be_had(tmp_path: Path, content: str | None) -> None:
    """A file that is missing or holds something else is told by its name and without what it holds."""
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
    failure = failure_of(
        Deferred.fromCoroutine(Proxy("http://p:1", CredentialsFile(file, InlineThreads())).authorization())
    )
    assert isinstance(failure, CredentialUnavailable) and "the proxy's credentials file" in str(failure)
    assert "c:d" not in str(failure)


class Pins:
    """Pins everything."""

    async def git_environment(self, url: str) -> dict[str, str]:
        return {"pinned": url}


def test_git_is_told_of_the_proxy_or_of_addresses() -> None:
    """Through a proxy there are no addresses to be told."""
    routes = GitConnections(proxies=Proxies(default=DEFAULT, direct=["near.example"]), pins=Pins())
    far = value_of(Deferred.fromCoroutine(routes.git_environment("https://github.com/o/r")))
    assert far["GIT_CONFIG_KEY_0"] == "http.proxy" and far["GIT_CONFIG_VALUE_0"] == "http://proxy.example:3128"
    near = value_of(Deferred.fromCoroutine(routes.git_environment("https://near.example/o/r")))
    assert near == {"pinned": "https://near.example/o/r"}
