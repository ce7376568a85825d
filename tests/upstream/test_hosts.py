"""Which hosts and addresses are admitted."""

import pytest

from cachew.plumbing.errors import UnknownPath, UpstreamRedirected
from cachew.upstream.hosts import Hosts, is_public_address, is_public_name
from cachew.upstream.redirects import follow


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "100.100.100.200", "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1",
        "192.0.0.192", "168.63.129.16", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
        "2002:7f00:1::", "2002:a00:1::1", "2001::1", "2001:db8::1", "::127.0.0.1", "::ffff:0:127.0.0.1", "fec0::1",
        "localhost", "", "1.2.3", "2130706433",
    ],
)  # fmt: skip
def test_closed_addresses(address: str) -> None:
    """Addresses of private, local, special and embedded private networks are not public."""
    assert not is_public_address(address)


@pytest.mark.parametrize(
    "address",
    ["140.82.121.4", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:50c0:8000::153", "2a00:1450:4001:80b::200e",
     "64:ff9b::8c52:7904", "::ffff:140.82.121.4", "2002:8c52:7904::1"],
)  # fmt: skip
def test_open_addresses(address: str) -> None:
    """Addresses of the public internet are public, also when they are carried in IPv6."""
    assert is_public_address(address)


@pytest.mark.parametrize(
    "name",
    ["localhost", "git", "git.local", "db.internal", "127.0.0.1", "127.1", "0x7f.1", "1.2.3.0x4", "[::1]", "::1",
     "a..b", "-a.com", "a.com-", "x.localhost", "metadata.google.internal", "router.home.arpa", "a b.com", "a.com.",
     "x" * 64 + ".com", ""],
)  # fmt: skip
def test_not_public_names(name: str) -> None:
    """Addresses in any notation, single labels and local domains are not public names."""
    assert not is_public_name(name)


def test_url_for() -> None:
    """A listed host gives its URL, the operator's when there is one; another host is unknown."""
    hosts = Hosts(upstreams={"github.com": None, "git.example": "http://10.0.0.5:3000/", "a.example:8443": None})
    assert hosts.url_for("github.com", "org/repo") == "https://github.com/org/repo"
    assert hosts.url_for("git.example", "org/repo") == "http://10.0.0.5:3000/org/repo"
    assert hosts.url_for("a.example:8443", "r") == "https://a.example:8443/r"
    assert hosts.url_for("github.com", "o/My Projekt (ß)/100%?#") == (
        "https://github.com/o/My%20Projekt%20%28%C3%9F%29/100%25%3F%23"
    )
    for unknown in ("evil.com", "github.com:8443", "a.example", "10.0.0.5:3000"):
        with pytest.raises(UnknownPath):
            hosts.url_for(unknown, "org/repo")


def test_any() -> None:
    """The star admits public names and nothing else."""
    hosts = Hosts(upstreams={"*": None})
    assert hosts.url_for("sr.ht", "x") == "https://sr.ht/x"
    assert hosts.url_for("git.sr.ht:8443", "x") == "https://git.sr.ht:8443/x"
    for refused in ("8.8.8.8", "10.0.0.1", "localhost", "*", "git.sr.ht:", "git.sr.ht:99999", "[::1]"):
        with pytest.raises(UnknownPath):
            hosts.url_for(refused, "x")


def test_may_be_private() -> None:
    """Only the very host and port of a configured URL may have a private address."""
    hosts = Hosts(upstreams={"git.example": "http://forge.lan:3000/", "github.com": None, "*": None})
    assert hosts.may_be_private("forge.lan", 3000)
    for host, port in (("forge.lan", 80), ("git.example", 443), ("github.com", 443), ("10.0.0.5", 3000)):
        assert not hosts.may_be_private(host, port)


def test_admits() -> None:
    """A redirect's target must be of a listed host, over https unless the operator's URL says otherwise."""
    hosts = Hosts(upstreams={"github.com": None, "git.example": "http://10.0.0.5:3000/"})
    assert hosts.admits("https://github.com/x")
    assert hosts.admits("http://10.0.0.5:3000/x")
    for refused in (
        "http://github.com/x", "https://evil.com/", "http://10.0.0.5:3001/", "https://git.example/", "file:///etc",
        "https://github.com:8443/", "https://github.com.evil.com/", "https://github.com:x/", "https:///x",
    ):  # fmt: skip
        assert not hosts.admits(refused)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://git.example/new/name", "http://10.0.0.5:3000/new/name"),
        ("http://GIT.example:80/new/name.git", "http://10.0.0.5:3000/new/name.git"),
        ("https://sub.example/code/new/name", "http://10.0.0.6/code/new/name"),
        ("https://sub.example/new/name", "http://10.0.0.6/code/new/name"),
        ("/new/name", "http://10.0.0.5:3000/new/name"),
    ],
)
def test_a_host_calls_itself_by_its_name(location: str, target: str) -> None:
    """A redirect to the name that clients know an upstream by leads to where the operator says that it is."""
    hosts = Hosts(upstreams={"git.example": "http://10.0.0.5:3000/", "sub.example": "http://10.0.0.6/code/"})
    tail = "/info/refs?service=git-upload-pack"
    assert follow(current=f"http://10.0.0.5:3000/a/b{tail}", location=location + tail, hosts=hosts) == target + tail


def test_no_way_back_to_where_it_was_asked() -> None:
    """An upstream that wants to be asked by its own name alone is not asked for ever."""
    hosts = Hosts(upstreams={"git.example": "http://10.0.0.5:3000/"})
    tail = "/info/refs?service=git-upload-pack"
    with pytest.raises(UpstreamRedirected, match="where it was asked"):
        follow(current=f"http://10.0.0.5:3000/a/b{tail}", location=f"https://git.example/a/b{tail}", hosts=hosts)
