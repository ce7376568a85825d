"""Links between objects: when it is certain that they hold, and what is looked at when it is not."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import pytest_twisted

from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.links import Links
from cachew.mirrors.repository import Repository
from cachew.mirrors.transfer import Transfer
from cachew.plumbing.pktline import FLUSH, encode_all
from cachew.plumbing.streams import BytesSource, Source
from cachew.upstream.listing import Listing
from tests.fakes.clock import FakeClock
from tests.functional import repositories


def test_what_comes_and_is_checked(tmp_path: Path) -> None:
    """While something comes nothing is certain, afterwards it is; a server that is killed in between leaves word."""
    links = Links(directory=tmp_path)
    assert links.hold
    with links.uncertain(checked=True):
        assert not links.hold and not Links(directory=tmp_path).hold
        with links.uncertain(checked=True):
            pass
        assert not links.hold
    assert links.hold and Links(directory=tmp_path).hold


@pytest.mark.parametrize("checked", [True, False])
def test_what_breaks_off_or_is_not_checked(tmp_path: Path, checked: bool) -> None:
    """It leaves a doubt beyond a restart, which goes only with all that no ref reaches."""
    links = Links(directory=tmp_path)
    with links.uncertain(checked=True):
        try:
            with links.uncertain(checked=checked):
                if checked:
                    raise ValueError
        except ValueError:
            pass
    assert not links.hold
    again = Links(directory=tmp_path)
    assert not again.hold
    with again.uncertain(checked=True):
        pass
    assert not again.hold
    again.restored()
    assert again.hold and Links(directory=tmp_path).hold


def test_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    """What can't be written down is known as long as the server runs."""
    links = Links(directory=tmp_path / "gone")
    with links.uncertain(checked=False):
        pass
    assert not links.hold


class Remote:
    """An upstream that answers with one pack."""

    url = "http://git.example/org/repo"

    def __init__(self, pack: bytes) -> None:
        self._answer = encode_all([b"packfile\n", b"\x01" + pack, FLUSH])
        self.fetched = 0

    async def list_refs(self) -> Listing:
        return Listing(refs=())

    async def fetch_url(self) -> str:
        self.fetched += 1
        return "file:///nowhere"

    async def git_environment(self) -> Mapping[str, str]:
        return {"GIT_ALLOW_PROTOCOL": "file"}

    async def pull(self, question: bytes) -> Source | None:
        return BytesSource(self._answer)


@pytest.mark.parametrize("doubted", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_push(runner: GitRunner, tmp_path: Path, doubted: bool) -> None:
    """Its pack is taken by one process; where something may be missing behind it another one looks."""
    upstream = repositories.make_repository(tmp_path / "upstream.git", commits=3)
    old = upstream.commit()
    repository = Repository(directory=tmp_path / "repo.git", object_format="sha1", git=runner)
    upstream.git("clone", "-q", "--mirror", str(upstream.path), str(repository.directory))
    new = repositories.push_commit(upstream)
    remote = Remote(pack_of(upstream, new, old))
    if doubted:
        repository.intake.links.doubt()
    started = runner.processes.started
    assert await Transfer(remote=remote, clock=FakeClock()).bring(repository, [new], haves=[old]) == {}
    assert runner.processes.started - started == 1 + doubted and not remote.fetched


def pack_of(upstream: repositories.Repository, new: str, old: str) -> bytes:
    """Return the pack of what a push has brought."""
    file = upstream.path / "pushed"
    upstream.git("bundle", "create", "-q", "--version=2", str(file), f"{old}..main")
    return file.read_bytes().partition(b"\n\n")[2]
