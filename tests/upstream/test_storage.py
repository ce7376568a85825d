"""Which storages an upstream may send downloads to."""

import pytest

from cachew.plumbing.errors import UpstreamUnreachable
from cachew.upstream.hosts import Hosts
from cachew.upstream.redirects import Redirects
from cachew.upstream.storage import follow_storage, may_hold, name_of

HOSTS = Hosts(
    upstreams={
        "github.com": None,
        "git.example": "http://10.0.0.5:3000/",
        "corp.example": "https://git.corp.com/",
        "*": None,
    }
)
REDIRECTS = Redirects(HOSTS)
HOME = "http://10.0.0.5:3000/org/repo"


@pytest.mark.parametrize(
    ("href", "home"),
    [
        ("https://storage.example.com/x?X-Amz-Signature=abc", HOME),
        ("https://storage.example.com:8443/x", HOME),
        ("http://10.0.0.5:3000/elsewhere", HOME),
        ("https://github.com/x", "https://github.com/org/repo"),
        ("https://git.corp.com/x", "https://git.corp.com/org/repo"),
    ],
)
def test_its_own_place_and_public_ones(href: str, home: str) -> None:
    """HTTPS with a public name, or the very origin that the operator gave for this repository."""
    assert may_hold(href, home=home, redirects=REDIRECTS)


@pytest.mark.parametrize(
    "href",
    [
        "http://storage.example.com/x", "http://10.0.0.5:3001/x", "https://10.0.0.5:3000/x", "https://127.0.0.1/x",
        "https://169.254.169.254/latest", "https://[::1]/x", "https://localhost/x", "https://storage/x",
        "https://git.corp.com/x", "https://github.com/x", "https://2130706433/x", "https://0x7f.1/x", "https://metadata.internal/x",
        "https://user:secret@storage.example.com/x", "https://user@10.0.0.5:3000/x", "ftp://storage.example.com/x",
        "file:///etc/passwd", "//storage.example.com/x", "/x", "", "https://", "https://storage.example.com:99999/x",
        "https://storage.example.com/x y", "https://storage.example.com/\r\nX: y", "https://storage.example.com/é",
        "https://storage.example.com\\@10.0.0.1/x", "https://storage.example.com/#x",
        "https://s.example.com/" + "x" * 9000,
    ],
)  # fmt: skip
def test_no_other(href: str) -> None:
    """Not another upstream's private place, no address, no local name, nothing malformed, nothing unencrypted."""
    assert not may_hold(href, home=HOME, redirects=REDIRECTS)


def test_redirects_are_judged_alike() -> None:
    """A storage redirects to where an upstream could have sent us, and never back from HTTPS."""
    current = "https://storage.example.com/x"
    assert (
        follow_storage(current=current, location="/y", home=HOME, redirects=REDIRECTS)
        == "https://storage.example.com/y"
    )
    assert follow_storage(current=HOME, location=current, home=HOME, redirects=REDIRECTS) == current
    for location in ("http://10.0.0.5:3000/x", "https://10.0.0.1/", "http://storage.example.com/x", "http://["):
        with pytest.raises(UpstreamUnreachable):
            follow_storage(current=current, location=location, home=HOME, redirects=REDIRECTS)


def test_names_hold_no_secrets() -> None:
    """Messages and logs call an address by its origin."""
    assert name_of("https://storage.example.com/x?sig=secret") == "https://storage.example.com:443"


@pytest.mark.parametrize(
    ("href", "within"),
    [
        ("http://10.0.0.5:3000/org/closed.git/info/lfs/objects/1?x=.git/", "http://10.0.0.5:3000/org/closed"),
        ("http://10.0.0.5:3000/org/closed/info/lfs/objects/1", "http://10.0.0.5:3000/org/closed"),
        ("http://10.0.0.5:3000/org/closed.git/gitlab-lfs/objects/1", "http://10.0.0.5:3000/org/closed"),
        ("http://10.0.0.5:3000/org/closed/raw/1?a=b", "http://10.0.0.5:3000/org/closed/raw/1"),
    ],
)
def test_rules_hold_within_its_own_place(href: str, within: str) -> None:
    """What lies in another repository's place of the same host is judged as that repository."""
    judged: list[tuple[str, str]] = []

    def objection(source: str, target: str) -> str | None:
        judged.append((source, target))
        return "no"

    assert not may_hold(href, home=HOME, redirects=Redirects(HOSTS, objection))
    assert judged == [(HOME, within)]
