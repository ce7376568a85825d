"""What a push brings, asked for without git: one process takes it, and git fetches what is not as it should be."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted

from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.repository import Repository
from cachew.mirrors.transfer import Transfer
from cachew.plumbing.errors import UpstreamBusy, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from cachew.plumbing.pktline import FLUSH, Packet, encode_all
from cachew.plumbing.streams import PushSource, Source
from cachew.upstream.listing import Capabilities
from tests.fakes.clock import FakeClock
from tests.functional import repositories


class Remote:
    """An upstream that has one answer.

    :param path: where git fetches from.
    :param answer: what it answers.
    :param failure: how that ends, None when it ends well; where the upstream is busy it never begins.
    """

    url = "http://git.example/org/repo"
    capabilities = Capabilities()

    def __init__(self, path: Path, answer: bytes, failure: UpstreamError | None = None) -> None:
        self._path, self._answer, self._failure = path, answer, failure
        self.asked = 0

    async def fetch_url(self) -> str:
        return f"file://{self._path}"

    async def git_environment(self) -> Mapping[str, str]:
        return {"GIT_ALLOW_PROTOCOL": "file"}

    async def fetch(self, remote: object, question: bytes) -> Source | None:
        self.asked += 1
        if isinstance(self._failure, UpstreamBusy):
            raise self._failure
        source = PushSource()
        source.data(self._answer)
        if self._failure is None:
            source.finish()
        else:
            source.fail(self._failure)
        return source


class Pushed:
    """A mirror, and an upstream that has been pushed to since."""

    def __init__(self, runner: GitRunner, path: Path) -> None:
        self.upstream = repositories.make_repository(path / "upstream.git", commits=3)
        self.old = self.upstream.commit()
        self.repository = Repository(directory=path / "repo.git", object_format="sha1", git=runner)
        self.upstream.git("clone", "-q", "--mirror", str(self.upstream.path), str(self.repository.directory))
        self.new = repositories.push_commit(self.upstream)
        bundle = path / "pushed.bundle"
        self.upstream.git("bundle", "create", "-q", "--version=2", str(bundle), f"{self.old}..main")
        pack = bundle.read_bytes().partition(b"\n\n")[2]
        self.answer: list[Packet] = [b"packfile\n", b"\x01" + pack, FLUSH]
        self.processes = runner.processes

    async def brought(self, answer: bytes, failure: UpstreamError | None = None) -> int:
        """Have what was pushed brought, and return how many processes that took."""
        started = self.processes.started
        upstream = cast(Any, Remote(self.upstream.path, answer, failure))
        transfer = Transfer(remote=upstream, posts=upstream, clock=FakeClock())
        assert await transfer.bring(self.repository, [self.new], haves=[self.old]) == {}
        assert self.repository.objects.missing([self.new]) == []
        return self.processes.started - started


@pytest.fixture
def pushed(runner: GitRunner, tmp_path: Path) -> Pushed:
    """Returns what was pushed to."""
    return Pushed(runner, tmp_path)


@pytest.mark.parametrize("doubted", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_push(pushed: Pushed, doubted: bool) -> None:
    """Its pack is taken by one process; where something may be missing behind it another one looks."""
    if doubted:
        pushed.repository.intake.links.doubt()
    assert await pushed.brought(encode_all(pushed.answer)) == 1 + doubted


@pytest.mark.parametrize("failure", [None, UpstreamUnreachable("http://git.example/", "broke off")])
@pytest.mark.parametrize("packets", [0, 1, 2, 3])
@pytest_twisted.ensureDeferred
async def test_an_answer_that_breaks_off(pushed: Pushed, packets: int, failure: UpstreamError | None) -> None:
    """Wherever it does, before, within or after the pack, git fetches what was pushed."""
    answer = encode_all(pushed.answer[:packets])
    if packets == 3 and failure is None:
        answer += b"0000"
    await pushed.brought(answer, failure)
    assert await pushed.repository.disconnected() is None


@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_a_refusal(pushed: Pushed) -> None:
    """What the upstream does not give so is fetched by git, which has other ways."""
    assert await pushed.brought(encode_all([b"ERR not our ref", FLUSH])) > 1


@pytest_twisted.ensureDeferred
async def test_an_upstream_that_hangs(pushed: Pushed) -> None:
    """It isn't asked once more."""
    with pytest.raises(UpstreamTimeout):
        await pushed.brought(encode_all(pushed.answer[:2]), UpstreamTimeout("http://git.example/", "sent nothing"))


@pytest_twisted.ensureDeferred
async def test_an_upstream_that_wants_to_be_left_alone(pushed: Pushed) -> None:
    """For as long as it says nothing is fetched from it, by this way or by git."""
    busy, clock = UpstreamBusy("http://git.example/", "answered 503", status=503, retry_after=90), FakeClock()
    remote, started = cast(Any, Remote(pushed.upstream.path, b"", busy)), pushed.processes.started
    transfer = Transfer(remote=remote, posts=remote, clock=clock)
    for _ in range(2):
        with pytest.raises(UpstreamBusy):
            await transfer.bring(pushed.repository, [pushed.new], haves=[pushed.old])
        clock.advance(40)
    with pytest.raises(UpstreamBusy, match="10 more seconds"):
        await transfer.fetch_ids(pushed.repository, [pushed.new])
    assert (remote.asked, pushed.processes.started) == (1, started)
    clock.advance(10)
    await transfer.fetch_ids(pushed.repository, [pushed.new])
    assert pushed.repository.objects.missing([pushed.new]) == []
