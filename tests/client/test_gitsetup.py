"""The lines that send git by way of a server."""

import pytest

from cachew.client.clonearguments import repository_of, spelled_out
from cachew.client.gitsetup import HOSTS, Setting, is_host, ours, servers, settings

SERVER = "http://cachew.example:8080"


def printed(lines: list[Setting]) -> list[tuple[str, str]]:
    """Return settings as git prints them."""
    return [(line.name.replace("insteadOf", "insteadof"), line.value) for line in lines]


@pytest.mark.parametrize("fast", [False, True])
def test_what_was_written_is_told(fast: bool) -> None:
    """Whatever setup writes, and nothing else, is what unsetup takes back."""
    mine = [("user.name", "x"), ("url.http://cachew.example/git/github.com/.insteadof", "gh:"), ("core.editor", "vi")]
    mine += [("credential.http://cachew.example/git/github.com/.helper", "store"), ("protocol.file.allow", "always")]
    lines = printed(settings(SERVER, HOSTS, fast=fast))
    found = ours([*mine, *lines])
    assert sorted((line.name, line.value) for line in found) == sorted(lines)
    assert ours(mine) == []


def test_what_somebody_has_written_himself() -> None:
    """A line of the pages is his, until setup is to send the same host another way."""
    mine = [("url.cachew::http://cachew.example/git/github.com/.insteadof", "https://github.com/")]
    mine += [("protocol.cachew.allow", "always")]
    assert ours([*mine, *printed(settings(SERVER, ["git.example"], fast=False))], hosts=["git.example"]) == [
        Setting(*one) for one in printed(settings(SERVER, ["git.example"], fast=False))
    ]
    assert {(one.name, one.value) for one in ours(mine, hosts=["github.com"])} == set(mine)


def test_what_is_still_needed_stays() -> None:
    """The leave for the helper's scheme stays while an address of the user's own has it."""
    mine = ("url.cachew::http://cachew.example/git/github.com/.insteadof", "gh:")
    found = ours([mine, *printed(settings(SERVER, ["github.com"], fast=True))])
    assert "protocol.cachew.allow" not in {line.name for line in found}


def test_which_servers_are_named() -> None:
    """Each is named once, whichever way clones take."""
    lines = [
        *settings(SERVER, HOSTS, fast=True),
        *settings("https://other.example/sub", ["git.example:8443"], fast=False),
    ]
    assert servers(printed(lines)) == [SERVER, "https://other.example/sub"]


@pytest.mark.parametrize(
    ("name", "good"),
    [("github.com", True), ("git.example:8443", True), ("localhost", True), ("[::1]:80", True)]
    + [(bad, False) for bad in ("", "a/b", "-x", "a b", 'a".x', "https://github.com", "a\nb", ".")],
)
def test_hosts(name: str, good: bool) -> None:
    """A host is a name and perhaps a port: nothing that could become another line of configuration."""
    assert is_host(name) is good


@pytest.mark.parametrize(
    ("words", "url"),
    [
        ("https://a/b", "https://a/b"),
        ("-q --depth 1 https://a/b dir", "https://a/b"),
        ("--branch main --single-branch https://a/b", "https://a/b"),
        ("-b https://x https://a/b", "https://a/b"),
        ("-qb main https://a/b", "https://a/b"),
        ("-vqbmain https://a/b", "https://a/b"),
        ("--ori up --rec https://a/b", "https://a/b"),
        ("--filter=blob:none https://a/b", "https://a/b"),
        ("--recurse-submodules https://a/b", "https://a/b"),
        ("-- https://a/b", "https://a/b"),
        ("--bare", None),
        ("--", None),
    ],
)
def test_which_argument_is_the_repository(words: str, url: str | None) -> None:
    """It is the first that belongs to no option."""
    assert repository_of(words.split(" ")) == url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("gh:org/repo", "https://github.com/org/repo"),
        ("git@github.com:org/repo", "git@github.com:org/repo"),
        ("https://github.com/org/repo", "https://github.com/org/repo"),
        ("bb:org/repo", "git@bitbucket.org:org/repo"),
        ("x:org/repo", "x:org/repo"),
    ],
)
def test_what_a_short_form_stands_for(url: str, address: str) -> None:
    """The user's own rules make an address of it; what is one already is not sent anywhere else."""
    rules = [
        ("https://github.com/", "gh:"),
        ("cachew::http://cachew.example/git/github.com/", "git@github.com:"),
        ("http://cachew.example/git/github.com/", "https://github.com/"),
        ("git@bitbucket.org:", "bb:"),
        ("/srv/git@git:", "x:"),
    ]
    assert spelled_out(url, rules) == address
