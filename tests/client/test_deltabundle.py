"""Delta bundles: where they may come from, and which branch they are of; git and the server are played."""

from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import pytest

from cachew.client.checkout import Checkout
from cachew.client.clienterrors import ClientError, ServerRefused
from cachew.client.deltabundle import DeltaBundles, default_branch, resolve
from tests.fakes.client_parts import Arriving

SERVER = "http://cachew.example"
BUNDLE = "/git/git.example/org/repo/snapshot.bundle?base=1"


class World:
    """A checkout of a branch, a git that notes what it is told, and a server that has one bundle.

    :param heads: what ``git bundle list-heads`` says of it.
    """

    def __init__(
        self, directory: Path, *heads: str, branch: str | None = "main", bundle: Arriving | None = None
    ) -> None:
        self.bundle = bundle or Arriving(b"some ", b"bytes")
        self.opened: list[str] = []
        self.refusal: ServerRefused | None = None
        self.ran: list[tuple[str, ...]] = []
        self.file = directory / "delta"
        self._heads = "".join(f"{'1' * 40} {head}\n" for head in heads)
        self.checkout = cast(Checkout, SimpleNamespace(git=self, tree=directory, branch=branch))
        http = SimpleNamespace(server=SERVER, is_own=lambda url: url.startswith(SERVER + "/"))
        self._bundles = DeltaBundles(downloads=cast(Any, SimpleNamespace(http=http, open=self._open)))

    def _open(self, url: str) -> Arriving:
        self.opened.append(url)
        if self.refusal is not None:
            raise self.refusal
        return self.bundle

    def run(
        self, directory: Path, *words: str, settings: Mapping[str, str] = MappingProxyType({})
    ) -> CompletedProcess[bytes]:
        """Play git, for a user who lets it fetch from no file."""
        assert (settings.get("protocol.file.allow") == "always") == (words[0] == "fetch")
        self.ran.append(words)
        return CompletedProcess(words, 0, self._heads.encode("utf-8", "surrogateescape"))

    def apply(self, url: str = BUNDLE) -> str | None:
        return self._bundles.apply(self.checkout, url, file=self.file)


def test_the_branch_that_is_checked_out_is_moved(tmp_path: Path) -> None:
    """Its remote-tracking branch first, then the branch, by a fast-forward or not at all."""
    world = World(tmp_path, "HEAD", "refs/heads/main")
    assert world.apply() is None
    assert world.opened == [SERVER + BUNDLE]
    assert world.file.read_bytes() == b"some bytes"
    assert world.bundle.closed
    fetch, merge = world.ran[1:]
    assert fetch[-1] == "+refs/heads/main:refs/remotes/origin/main"
    assert merge == ("merge", "--quiet", "--ff-only", "refs/remotes/origin/main")


def test_another_branch_is_told_and_moves_nothing(tmp_path: Path) -> None:
    """The upstream's HEAD has moved there; names of any bytes are taken as they are."""
    world = World(tmp_path, "refs/heads/r\udcc3v")
    assert world.apply() == "r\udcc3v"
    assert [words[0] for words in world.ran] == ["bundle", "fetch"]


def test_without_a_branch_head_itself_is_followed(tmp_path: Path) -> None:
    """A detached checkout takes the bundle's HEAD."""
    world = World(tmp_path, "HEAD", branch=None)
    assert world.apply() is None
    assert [words[-1] for words in world.ran[1:]] == ["HEAD", "FETCH_HEAD"]


def test_a_bundle_that_names_no_branch_is_not_applied_to_one(tmp_path: Path) -> None:
    """Nobody knows of which it is."""
    with pytest.raises(ClientError, match="which branch"):
        World(tmp_path, "HEAD").apply()


@pytest.mark.parametrize(
    "url", ["http://elsewhere.example/b", "//elsewhere.example/b", "file:///etc/passwd", "http://[::1", "http://[x]/b"]
)
def test_a_bundle_elsewhere_is_not_asked_for(tmp_path: Path, url: str) -> None:
    """What the server names may be no address at all; that is a failure like others."""
    world = World(tmp_path, "refs/heads/main")
    with pytest.raises(ClientError, match="elsewhere"):
        world.apply(url)
    assert (world.opened, world.ran) == ([], [])


def test_nothing_newer_is_no_failure(tmp_path: Path) -> None:
    """204 says that the snapshot is what the upstream has."""
    world = World(tmp_path)
    world.refusal = ServerRefused("no content", status=204)
    assert world.apply() is None
    assert world.ran == []


def test_a_refusal_is_told(tmp_path: Path) -> None:
    """Any other answer ends it."""
    world = World(tmp_path)
    world.refusal = ServerRefused("gone", status=404)
    with pytest.raises(ServerRefused, match="gone"):
        world.apply()


def test_a_download_that_breaks_off_is_given_up(tmp_path: Path) -> None:
    """Git never sees the half of a bundle."""
    world = World(tmp_path, bundle=Arriving(b"half", fails=ClientError("it broke off")))
    with pytest.raises(ClientError, match="broke off"):
        world.apply()
    assert world.bundle.closed
    assert world.ran == []


@pytest.mark.parametrize("length", ["\xb2", "-1", "9" * 30, ""])
def test_a_length_that_is_none_is_passed_over(tmp_path: Path, length: str) -> None:
    """What comes counts, not what was said of it."""
    world = World(tmp_path, "refs/heads/main", bundle=Arriving(b"x", Content_Length=length))
    assert world.apply() is None
    assert world.file.read_bytes() == b"x"


def test_a_bundle_that_does_not_fit_is_not_begun(tmp_path: Path) -> None:
    """A disk is not filled for what it has no room for."""
    world = World(tmp_path, bundle=Arriving(b"x", Content_Length="9" * 18))
    with pytest.raises(ClientError, match="stay free"):
        world.apply()
    assert not world.file.exists()
    assert world.bundle.closed


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("refs/heads/main", "main"),
        ("refs/heads/r%C3v", "r\udcc3v"),
        ("refs/heads/%2e%2e/x", None),
        ("refs/heads/a%00b", None),
        ("refs/heads/", None),
        ("refs/tags/v1", None),
        ("main", None),
        ("", None),
    ],
)
def test_which_branch_is_the_default(said: str, name: str | None) -> None:
    """Only what git takes for a branch is believed."""
    assert default_branch({"X-Cachew-Head": said}) == name


def test_where_a_bundle_is() -> None:
    """A path is on the server; below a prefix of the server's, too."""
    assert resolve("/git/x", server="http://h/sub") == "http://h/sub/git/x"
    assert resolve("git/x", server="http://h/sub") == "http://h/sub/git/x"
    assert resolve("//other/x", server="http://h") == "http://other/x"
