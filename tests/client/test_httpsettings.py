"""Git's settings of how to talk HTTP, understood for our own requests."""

import io
import ssl

import pytest

from cachew.client.gitprogress import GitProgress
from cachew.client.httpsettings import read, without_credentials
from tests.fakes.clock import FakeClock


def test_headers_are_gits() -> None:
    """A credential among the headers is told from the others; names have any case."""
    said = read([("http.extraheader", "AUTHORIZATION: basic abc")], {})
    assert (said.authorization, said.headers) == ("basic abc", {})
    said = read([("http.extraheader", "X-Build: 7")], {})
    assert (said.authorization, said.headers) == (None, {"X-Build": "7"})
    assert read([("http.extraheader", "")], {}).headers == {}


def test_every_header_is_sent() -> None:
    """All that are set are, up to an empty one, which takes back what was set before it."""
    lines = ["Authorization: Basic old", "", "X-Team: a", "Authorization: Basic abc", "X-Build: 7"]
    said = read([("http.extraheader", line) for line in lines], {})
    assert (said.authorization, said.headers) == ("Basic abc", {"X-Team": "a", "X-Build": "7"})


def test_files_may_be_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As git reads names of files in its config, but not those in variables."""
    monkeypatch.setenv("HOME", "/home/alice")
    names = ("sslcainfo", "sslcapath", "sslcert", "sslkey")
    said = read([(f"http.{name}", f"~/{name}") for name in names], {"GIT_SSL_CAINFO": "~/ca"})
    assert (said.authority, said.authorities) == ("~/ca", "/home/alice/sslcapath")
    assert said.certificate == ("/home/alice/sslcert", "/home/alice/sslkey")


def test_tls_is_gits() -> None:
    """Variables come before settings, and what is switched off is off."""
    values = [("http.sslcainfo", "/a"), ("http.sslcert", "/c"), ("http.sslkey", "/k"), ("http.proxy", "")]
    said = read(values, {"GIT_SSL_CAINFO": "/b"})
    assert (said.authority, said.certificate, said.proxy, said.verify) == ("/b", ("/c", "/k"), "", True)
    for off in (read([("http.sslverify", "False")], {}), read([], {"GIT_SSL_NO_VERIFY": "1"})):
        assert off.tls().verify_mode is ssl.CERT_NONE
    assert read([], {}).tls().verify_mode is ssl.CERT_REQUIRED
    assert read([], {}).proxy is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:81/git/x/y", ("http://h:81/git/x/y", "", None)),
        ("http://u@h/x", ("http://h/x", "u", None)),
        ("https://u%40x:p%3A@h/x", ("https://h/x", "u@x", "Basic dUB4OnA6")),
    ],
)
def test_credentials_in_an_address(url: str, expected: tuple[str, str, str | None]) -> None:
    """They are taken out, so that no message and no setting shows them."""
    assert without_credentials(url) == expected


def test_progress_looks_like_gits() -> None:
    """One line that is written over, once for each hundredth, and ended; nothing when nothing is to be shown."""
    for shown in (True, False):
        stream = io.StringIO()
        progress = GitProgress(stream=stream, clock=FakeClock(now=1.0), shown=shown)
        progress.begin("Downloading", 2 * 1024 * 1024)
        for _ in range(4):
            progress.advance(512 * 1024)
        progress.finish()
        progress.done()
        lines = stream.getvalue().split("\r")
        assert (lines[-1].startswith("Receiving snapshot: 100% 2.00 MiB") and lines[-1].endswith(", done.\n")) is shown
        assert len(lines) == (5 if shown else 1)
