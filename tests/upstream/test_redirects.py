"""Where a repository's URL ends and what is asked of it begins."""

import pytest

from cachew.plumbing.errors import UpstreamRedirected
from cachew.upstream.hosts import Hosts
from cachew.upstream.redirects import follow, split_operation

BASE = "https://git.example/org/repo"


@pytest.mark.parametrize(
    "operation",
    [
        "/info/refs?service=git-upload-pack",
        "/info/lfs/objects/batch",
        "/objects/info/packs",
        "/objects/info/http-alternates",
        f"/objects/ab/{'c' * 38}",
        f"/objects/pack/pack-{'d' * 40}.idx",
    ],
)
def test_what_is_asked_is_told_from_the_repository(operation: str) -> None:
    """Also of those that are served as files."""
    assert split_operation(BASE + operation) == (BASE, operation)


@pytest.mark.parametrize("path", ["objects/pack/one", "objects/info/two", "objects/ab/three", "o/objects/ad/x.git"])
def test_a_repository_below_a_directory_called_objects(path: str) -> None:
    """Two of them are not the same one, or a credential for one would be shown for the other."""
    assert split_operation(f"https://git.example/{path}") == (f"https://git.example/{path}", "")


@pytest.mark.parametrize(
    ("location", "host"),
    [("https://login.example/sso?return=%2Fx", "login.example"), ("//SSO.example:8443/x", "sso.example")],
)
def test_the_host_that_a_redirect_leads_to_is_named(location: str, host: str) -> None:
    """Whoever runs the server is told which one he may have to add, or that it is a login; its query is nobody's."""
    hosts, asked = Hosts(upstreams={"git.example": None}), f"{BASE}/info/refs?service=git-upload-pack"
    with pytest.raises(UpstreamRedirected) as failure:
        follow(current=asked, location=location, hosts=hosts)
    assert failure.value.reason == f"redirected to {host}, which is not among the configured upstreams"
