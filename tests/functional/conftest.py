"""What functional tests start from: an upstream, a user's git, a certificate authority."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import pytest
import pytest_twisted

from tests.fakes import objectservers
from tests.functional.canary import NEEDLES, CommandLines, found_in, needles, said, search_state, states
from tests.functional.certificates import Authority
from tests.functional.gitclient import Git
from tests.functional.repositories import Repository, big_repository
from tests.functional.server import Cachew, HeldClock
from tests.functional.upstream import Upstream

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Trace only the first of a test's variants: the tracer costs more than half of what a server in this process does.

    What the others run and the first one doesn't is for the tests of the packages to show.
    """
    traced: set[str] = set()
    for item in items:
        name = item.nodeid.partition("[")[0]
        if item.path.is_relative_to(HERE) and name in traced:
            item.add_marker(pytest.mark.no_cover)
        traced.add(name)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority that only this test trusts."""
    return Authority(tmp_path)


@pytest_twisted.async_yield_fixture
async def upstream(tmp_path: Path) -> AsyncIterator[Upstream]:
    """An upstream over HTTP, listening, without repositories."""
    from twisted.internet import reactor

    root = tmp_path / "upstream"
    root.mkdir()
    server = Upstream(reactor=reactor, root=root)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="module")
def command_lines() -> Iterator[CommandLines]:
    """Samples of command lines, taken all the while that this worker runs functional tests."""
    lines = CommandLines()
    lines.start()
    yield lines
    lines.stop()


@pytest.fixture(autouse=True)
def canary(tmp_path: Path, command_lines: CommandLines) -> Iterator[None]:
    """Fail a test whose servers have written a credential down, wherever that is."""
    with said.listening():
        yield
    tokens = [(state / "admin-token").read_bytes().strip() for state in states(tmp_path)]
    secrets = [*NEEDLES, *(form for token in tokens for form in needles(token))]
    found = found_in("the log or the metrics", said.whole(), of=secrets)
    found += [line for state in states(tmp_path) for line in search_state(state)]
    found += [f"a command line: {words!r}" for words in command_lines.found]
    command_lines.found.clear()
    if found:
        pytest.fail("credentials were written down:\n" + "\n".join(found), pytrace=False)


class Start(Protocol):
    """Starts a server in front of the upstream."""

    async def __call__(
        self, config: str = "", *, head: str = "", state: str = "state", clock: HeldClock | None = None
    ) -> Cachew:
        """Start one.

        :param config: more TOML, after the upstream's table.
        :param head: TOML before any table.
        :param state: its state directory's name, for a second server or a second start.
        :param clock: its clock, if it is one of the test's own.
        """


@pytest_twisted.async_yield_fixture
async def start(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Start]:
    """Starts servers in front of the upstream; they are stopped at the end."""
    from twisted.internet import reactor

    started: list[Cachew] = []

    async def begin(
        config: str = "", *, head: str = "", state: str = "state", clock: HeldClock | None = None
    ) -> Cachew:
        server = Cachew(
            reactor=clock or reactor, state=tmp_path / state, upstream=upstream.url, config=config, head=head
        )
        started.append(server)
        await server.start()
        return server

    yield begin
    for server in started:
        if server.parts.server.running:
            await server.stop()


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A user's git with an empty home directory."""
    from twisted.internet import reactor

    home = tmp_path / "home"
    home.mkdir()
    return Git(reactor, home)


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The URL of an object store."""
    with objectservers.seaweedfs() as url:
        yield url


@pytest.fixture(scope="session")
def big(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Repository:
    """A repository of more than 10,000 commits and 100 MB, one for all workers of the test run; never changed."""
    base = tmp_path_factory.getbasetemp()
    return big_repository((base if worker_id == "master" else base.parent) / "big.git")
