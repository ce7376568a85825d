"""What a checkout lacks is asked for through the server; git is played, but where its own rules matter."""

import os
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cachew.client.addresses import RepositoryAddress
from cachew.client.checkout import Checkout
from cachew.client.clienterrors import BadUsage, ClientError, GitFailed
from cachew.client.freshen import Freshener, WantedRefs, parse_wanted
from cachew.client.gitcommand import Git
from cachew.client.retries import Retries
from tests.fakes.archives import commit, git
from tests.fakes.client_parts import Watcher

ORIGIN = "https://git.example/org/repo"
ADDRESS = RepositoryAddress("http://cachew.example", "git.example", "org/repo", None)
OLD, NEW, OTHER = "1" * 40, "2" * 40, "3" * 40


class World:
    """A checkout that has some objects, a git that gets more when it fetches, and a server that says what there is.

    :param refs: what the server says of them.
    :param fetched: what comes with the first fetch.
    """

    def __init__(self, answer: object = None, *, branch: str | None = "main", fetched: tuple[str, ...] = ()) -> None:
        self.have = {OLD}
        self.ran: list[tuple[str, ...]] = []
        self.settings: list[Mapping[str, str]] = []
        self.asked: list[object] = []
        self.patience: float | None = None
        self.failing = ""
        self.progress = Watcher()
        self._answer, self._fetched = answer, fetched
        self.authorization: str | None = "Bearer secret"
        self.checkout = cast(Checkout, SimpleNamespace(git=self, tree=Path("/tree"), branch=branch))
        retries = Retries(pause=lambda _: None)
        self.freshener = Freshener(http=cast(Any, self), progress=self.progress, retries=retries)

    def is_own(self, url: str) -> bool:
        """Say that all of it is ours."""
        return True

    def json(self, method: str, url: str, *, value: object, patience: float) -> object:
        """Play the server."""
        self.asked.append(value)
        self.patience = patience
        return self._answer

    def has_object(self, directory: Path, oid: str) -> bool:
        """Play git."""
        return oid in self.have

    def run(self, directory: Path, *words: str, settings: Mapping[str, str]) -> CompletedProcess[bytes]:
        """Play git."""
        if words[0] == self.failing:
            raise GitFailed(words[0], "fatal: not possible to fast-forward")
        self.ran.append(words)
        self.settings.append(settings)
        self.have |= set(self._fetched if words[0] == "fetch" and len(self.ran) == 1 else words)
        return CompletedProcess(words, 0, b"")

    def satisfy(self, refs: Mapping[str, str], *commits: str) -> None:
        self.freshener.satisfy(self.checkout, ADDRESS, origin=ORIGIN, wanted=WantedRefs(refs, commits))


class Merging(World):
    """A world whose merges have no settings of their own."""

    def run(self, directory: Path, *words: str, settings: Mapping[str, str] | None = None) -> CompletedProcess[bytes]:
        return super().run(directory, *words, settings=settings or {})


def test_what_is_here_is_asked_of_nobody() -> None:
    """A checkout that has every object is what was wanted."""
    world = Merging()
    world.satisfy({"refs/heads/main": OLD}, OLD)
    assert world.asked == world.ran == []


def test_what_the_upstream_has_may_be_here_already() -> None:
    """The server is asked what an open wish comes to; nothing is fetched for what is here."""
    world = Merging({"refs": {"refs/heads/main": OLD}})
    world.satisfy({"refs/heads/main": ""})
    assert world.asked == [{"refs": {"refs/heads/main": ""}, "commits": []}]
    assert world.patience == 900.0
    assert world.ran == []


def test_what_is_newer_is_fetched_through_the_server() -> None:
    """With the credential for the server, in no command line; then the branch is moved."""
    world = Merging({"refs": {"refs/heads/main": NEW}}, fetched=(NEW,))
    world.satisfy({"refs/heads/main": NEW})
    fetch, merge = world.ran
    assert fetch[-2:] == ("origin", "+refs/heads/*:refs/remotes/origin/*")
    assert world.settings[0] == {
        "url.http://cachew.example/git/git.example/org/repo.insteadOf": ORIGIN,
        "http.http://cachew.example/.extraHeader": "Authorization: Bearer secret",
    }
    assert merge == ("merge", "--quiet", "--ff-only", "refs/remotes/origin/main")


def test_tags_and_other_refs_come_with_the_branches() -> None:
    """A tag is kept under its name; of others only the objects come."""
    refs = {"refs/tags/v1": NEW, "refs/pull/7/head": OTHER}
    world = Merging({"refs": refs}, fetched=(NEW, OTHER))
    world.satisfy(refs)
    assert world.ran[0][-2:] == ("+refs/tags/v1:refs/tags/v1", "refs/pull/7/head")


def test_what_no_branch_brings_is_fetched_by_its_id() -> None:
    """A commit need not be on a branch."""
    world = Merging({"refs": {}, "missing_commits": []})
    world.satisfy({}, NEW)
    assert world.ran[1] == ("fetch", "--quiet", "origin", NEW)


def test_a_detached_checkout_moves_no_branch() -> None:
    """There is none to be moved."""
    world = Merging({"refs": {}}, branch=None, fetched=(NEW,))
    world.satisfy({}, NEW)
    assert [words[0] for words in world.ran] == ["fetch"]


def test_a_branch_that_was_rewritten_stays_with_a_warning() -> None:
    """The wish is met, as the objects are here."""
    world = Merging({"refs": {"refs/heads/main": NEW}}, fetched=(NEW,))
    world.failing = "merge"
    world.satisfy({"refs/heads/main": ""})
    assert "git reset --hard origin/main" in world.progress.warned[0]


@pytest.mark.parametrize("answer", [None, [], "x", {"refs": []}, {"refs": {"refs/heads/main": 7}}, {"refs": {}}])
def test_an_answer_that_says_nothing_meets_no_wish(answer: object) -> None:
    """Whatever a server says, nothing is taken for a ref that is none."""
    world = Merging(answer)
    with pytest.raises(ClientError):
        world.satisfy({"refs/heads/main": ""})
    assert world.ran == []


def test_what_is_missing_upstream_is_named() -> None:
    """It can't be fetched."""
    world = Merging({"refs": {}, "missing_commits": [NEW]})
    with pytest.raises(ClientError, match=NEW):
        world.satisfy({}, NEW)
    assert world.ran == []


def test_a_public_server_is_shown_nothing() -> None:
    """Without a credential there is no header for one."""
    world = Merging({"refs": {}}, fetched=(NEW,))
    world.authorization = None
    world.satisfy({}, NEW)
    assert list(world.settings[0]) == ["url.http://cachew.example/git/git.example/org/repo.insteadOf"]


@pytest.mark.parametrize(
    "text", ["=" + NEW, "/=" + NEW, "a//b=", "a/=", ".a=", "a.lock=", "a b=", "a..b=", "main=12", "refs/heads/=", "@{="]
)
def test_names_that_no_ref_has(text: str) -> None:
    """They are refused before anybody is asked: an empty one is the unset variable of a script."""
    with pytest.raises(BadUsage, match="NAME=SHA"):
        parse_wanted([text], [])


def test_wishes_are_read_whatever_their_case() -> None:
    """A name without ``refs/`` is a branch."""
    wanted = parse_wanted(["main", "refs/tags/v1=" + "A" * 40, "feature/x=" + "b" * 64], ["C" * 40])
    assert wanted.refs == {"refs/heads/main": "", "refs/tags/v1": "a" * 40, "refs/heads/feature/x": "b" * 64}
    assert wanted.oids == ["a" * 40, "b" * 64, "c" * 40]


# --- another default branch, by git's own rules -----------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [("release", "release/2"), ("release/1", "release"), ("main", "trunk")])
def test_a_default_branch_may_take_the_place_of_the_old_one(tmp_path: Path, old: str, new: str) -> None:
    """Git keeps no branch below another: the one that is checked out goes before the new one comes."""
    address = RepositoryAddress(f"file://{tmp_path}", "git.example", "org/repo", None)
    upstream = tmp_path / "git/git.example/org/repo"
    upstream.mkdir(parents=True)
    git(upstream, "init", "-q", "-b", old)
    commit(upstream, "file", "old\n")
    git(tmp_path, "clone", "-q", "-c", f"remote.origin.url={ORIGIN}", "--no-local", str(upstream), "tree")
    git(tmp_path / "tree", "config", "--replace-all", "remote.origin.url", ORIGIN)
    git(upstream, "branch", "-m", "passing")
    git(upstream, "branch", "-m", new)
    tip = commit(upstream, "file", "new\n")
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    checkout = Checkout(tree=tmp_path / "tree", git=Git(program="git", environ=environ))
    http = SimpleNamespace(authorization=None)
    freshener = Freshener(http=cast(Any, http), progress=Watcher(), retries=Retries(pause=lambda _: None))
    freshener.follow_default(checkout, address, origin=ORIGIN, branch=new)
    assert checkout.branch == new
    assert git(checkout.tree, "rev-parse", "HEAD") == tip
    assert git(checkout.tree, "status", "--porcelain") == ""
    assert git(checkout.tree, "for-each-ref", "--format=%(refname)", "refs/heads") == f"refs/heads/{new}"
