"""A server that asks for a credential is shown what git itself would show it, and git's helpers hear how it went."""

import base64
import os
import shutil
from pathlib import Path

import pytest

from cachew.client.connections import Connections
from cachew.client.gitcommand import Git
from cachew.client.gitcredentials import GitCredentials, Offer
from cachew.client.http import Http
from tests.fakes.cachew_server import CachewServer, Stored

HELPER = """#!/bin/sh
{ echo "$1"; cat; echo; } >> "$HOME/heard"
[ "$1" = get ] && [ -e "$HOME/password" ] && { echo username=bob; echo password=$(cat "$HOME/password"); }
exit 0
"""


def basic(pair: str) -> str:
    """Return the header of a user and a password."""
    return "Basic " + base64.b64encode(pair.encode()).decode()


class User:
    """A user with a home, a git config, and a credential helper that notes what it hears."""

    def __init__(self, home: Path, server: CachewServer) -> None:
        self.home, self.server = home, server
        (home / "helper").write_text(HELPER)
        (home / "helper").chmod(0o755)
        self.config(f'[credential]\n\thelper = "{home / "helper"}"\n')
        self.learnt: list[str] = []
        server.objects["/git/git.example/org/repo/snapshot.tar.zst"] = Stored(b"content")

    def config(self, text: str) -> None:
        """Set the user's git config."""
        (self.home / ".gitconfig").write_text(text)

    @property
    def heard(self) -> list[str]:
        """What the helper was asked."""
        file = self.home / "heard"
        return file.read_text().strip().split("\n\n") if file.exists() else []

    def http(self, authorization: str | None = None) -> Http:
        """Return a client of the server as the command makes it."""
        program = shutil.which("git")
        assert program is not None
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1"}
        environ["GIT_TERMINAL_PROMPT"] = "0"
        credentials = GitCredentials(
            git=Git(program=program, environ=environ), home=self.home, learnt=self.learnt.append
        )
        return Http(
            server=self.server.url,
            authorization=authorization,
            connections=Connections(),
            offers=credentials.offers,
        )

    def ask(self, http: Http) -> int:
        """Ask for the snapshot and return the status."""
        answer = http.request("HEAD", f"{self.server.url}/git/git.example/org/repo/snapshot.tar.zst")
        answer.close()
        return answer.status


@pytest.fixture
def user(tmp_path: Path, server: CachewServer) -> User:
    return User(tmp_path, server)


def test_a_helper_is_asked_for_the_address_of_the_server(user: User) -> None:
    """Its credential is shown from then on, and it hears that this was good."""
    (user.home / "password").write_text("s3cr3t")
    user.server.required = basic("bob:s3cr3t")
    http = user.http()
    assert [user.ask(http), user.ask(http)] == [200, 200]
    assert [seen.headers.get("Authorization") for seen in user.server.seen] == [None, *[basic("bob:s3cr3t")] * 2]
    host = user.server.url.partition("://")[2]
    fill, approve = user.heard
    assert fill.startswith("get\n") and f"protocol=http\nhost={host}" in fill
    assert approve.startswith("store\n") and "password=s3cr3t" in approve
    assert "s3cr3t" in user.learnt


def test_a_credential_that_is_no_good_is_rejected(user: User) -> None:
    """The helper hears so, and the answer is the server's refusal."""
    (user.home / "password").write_text("old")
    user.server.required = basic("bob:s3cr3t")
    assert user.ask(user.http()) == 401
    assert [said.partition("\n")[0] for said in user.heard] == ["get", "erase"]
    assert len(user.server.seen) == 2


def test_the_netrc_comes_before_the_helpers(user: User) -> None:
    """As in git, whose curl reads it."""
    (user.home / ".netrc").write_text("machine other login x password y\nmachine 127.0.0.1 login bob password s3cr3t\n")
    user.server.required = basic("bob:s3cr3t")
    assert user.ask(user.http()) == 200 and user.heard == []
    (user.home / ".netrc").write_text("machine 127.0.0.1 login bob password old\n")
    (user.home / "password").write_text("s3cr3t")
    assert user.ask(user.http()) == 200 and len(user.heard) == 2
    for broken in (
        "machine 127.0.0.1 login",
        'nonsense "s3cr3t',
        "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
    ):
        (user.home / ".netrc").write_text(broken)
        assert user.ask(user.http()) == 200


def test_an_extra_header_of_the_address(user: User) -> None:
    """What CI sets up for git's requests to the server is good here too."""
    user.config(f'[http "{user.server.url}/"]\n\textraHeader = "AUTHORIZATION: basic c3RhdGlj"\n')
    user.server.required = "basic c3RhdGlj"
    assert user.ask(user.http()) == 200
    assert "c3RhdGlj" in user.learnt


def test_nothing_is_asked_where_nothing_is_needed_or_all_is_said(user: User) -> None:
    """A server that lets in asks nobody, nor does one that refuses what the user has set, nor another's address."""
    assert user.ask(user.http()) == 200
    user.server.required = basic("bob:s3cr3t")
    assert user.ask(user.http("Bearer wrong")) == 401
    assert user.heard == []


def test_without_a_credential_the_refusal_stands(user: User) -> None:
    """One request, and the server's own words."""
    user.server.required = basic("bob:s3cr3t")
    user.config("")
    answer = user.http().request("GET", f"{user.server.url}/git/git.example/org/repo/snapshot.tar.zst")
    assert (answer.status, answer.read(100)) == (401, b"not nothing\n")
    answer.close()


def test_what_can_be_sent_only_once_is_not_sent_again(server: CachewServer) -> None:
    """An upload is not begun anew, whatever could be shown."""
    server.required = "Basic x"
    http = Http(
        server=server.url,
        authorization=None,
        connections=Connections(),
        offers=lambda url, challenge: [Offer("Basic x", ())],
    )
    answer = http.request("POST", f"{server.url}/x", body=iter([b"a"]))
    answer.close()
    assert answer.status == 401 and len(server.seen) == 1
