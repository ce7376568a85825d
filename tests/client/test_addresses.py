"""Addresses of repositories."""

import pytest

from cachew.client.addresses import insteadof_prefix, parse_repository, parse_server, same_repository
from cachew.client.clienterrors import BadUsage

SERVER = "http://cachew.example"


@pytest.mark.parametrize(
    ("url", "name", "upstream"),
    [
        ("https://github.com/org/repo", "github.com/org/repo", "https://github.com/org/repo"),
        ("https://GitHub.com/org/repo.git/", "github.com/org/repo", "https://GitHub.com/org/repo.git"),
        ("https://git.example:8443/a/b/c", "git.example:8443/a/b/c", "https://git.example:8443/a/b/c"),
        ("https://github.com:443/org/repo", "github.com/org/repo", "https://github.com:443/org/repo"),
        ("git@github.com:org/repo.git", "github.com/org/repo", "git@github.com:org/repo.git"),
        ("ssh://git@github.com/org/repo", "github.com/org/repo", "ssh://git@github.com/org/repo"),
        ("https://sourceware.org/git/glibc.git", "sourceware.org/git/glibc", "https://sourceware.org/git/glibc.git"),
        (
            "https://dev.example/org/My Project/_git/größe",
            "dev.example/org/My%20Project/_git/gr%C3%B6%C3%9Fe",
            "https://dev.example/org/My%20Project/_git/gr%C3%B6%C3%9Fe",
        ),
        ("https://h.example/a%2cb/x.lock", "h.example/a%2Cb/x.lock", "https://h.example/a%2Cb/x.lock"),
        ("https://h.example/-dash/100%25.git/", "h.example/-dash/100%25", "https://h.example/-dash/100%25.git"),
        ("git@h.example:My Project/100%.git", "h.example/My%20Project/100%25", "git@h.example:My Project/100%.git"),
        ("http://cachew.example/git/h.example/My Project", "h.example/My%20Project", None),
        ("http://cachew.example/git/github.com/org/repo", "github.com/org/repo", None),
        ("http://cachew.example/git/internal/org/repo", "internal/org/repo", None),
    ],
)
def test_names_the_repository(url: str, name: str, upstream: str | None) -> None:
    """Either address of a repository names it on the server."""
    address = parse_repository(url, server=SERVER)
    assert (address.server, address.name, address.upstream_url) == (SERVER, name, upstream)
    assert address.artefact("ensure-refs") == f"http://cachew.example/git/{name}/ensure-refs"


def test_takes_the_server_from_a_full_url() -> None:
    """The URL of a repository on another server names that server."""
    address = parse_repository("http://other.example:8080/git/github.com/org/repo", server=SERVER)
    assert address.url == "http://other.example:8080/git/github.com/org/repo"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "repo",
        "https://github.com",
        "https://github.com/",
        "https://github.com/../x",
        "https://github.com/a//b",
        "https://github.com/a%2fb",
        "https://github.com/a%252fb",
        "https://github.com/a%zz",
        "https://github.com/a%0ab",
        "https://github.com/a%ffb",
        "https://github.com/%2e%2e/b",
        "https://user:secret@github.com/org/repo",
        "https://github.com/org/repo?x=y",
        "file:///etc",
        "https://[broken/org/repo",
    ],
)
def test_refuses_what_names_no_repository(url: str) -> None:
    """Malformed URLs, and such with credentials, are refused."""
    with pytest.raises(BadUsage):
        parse_repository(url, server=SERVER)


def test_checks_the_server() -> None:
    """A server's URL loses its trailing slash; what is no URL of a server is refused."""
    assert parse_server("http://cachew.example:8080/") == "http://cachew.example:8080"
    for url in (
        "cachew.example",
        "ftp://cachew.example",
        "http://u:p@cachew.example",
        "http://",
        f"http://{'a' * 64}.example",
    ):
        with pytest.raises(BadUsage):
            parse_server(url)


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("http://10.0.0.5:3000/org/repo", True),
        ("https://github.com/org/repo.git", True),
        ("https://github.com/Org/Repo", True),
        ("https://evil.example/else", False),
        ("https://user@github.com/org/repo", False),
        ("ext::sh -c id", False),
        ("https://github.com/org/repo\n[alias]", False),
        ("https://x:y:z/org/repo", False),
    ],
)
def test_judges_what_an_archive_calls_its_origin(url: str, same: bool) -> None:
    """Only a plain URL with the repository's own path is taken from an archive."""
    address = parse_repository(f"{SERVER}/git/github.com/org/repo", server=SERVER)
    assert same_repository(url, address) is same


@pytest.mark.parametrize(
    ("origin", "prefix"),
    [
        ("https://dev.example/org/My%20Project/r", "https://dev.example/"),
        ("https://dev.example/Org/my%20project/r.git", "https://dev.example/"),
        ("http://10.0.0.5:3000/sub/org/My%20Project/r/", "http://10.0.0.5:3000/sub/"),
    ],
)
def test_what_git_is_told_to_replace(origin: str, prefix: str) -> None:
    """The advice for insteadOf names what comes before the repository's path, however that is written."""
    address = parse_repository(f"{SERVER}/git/dev.example/org/My Project/r", server=SERVER)
    assert insteadof_prefix(origin, address) == prefix
