"""How many files and connections a server may have open, and that it comes back when they were all taken."""

import signal
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.functional import repositories
from tests.functional.daemon import Daemon
from tests.functional.gitclient import Git
from tests.functional.rawhttp import ask
from tests.functional.test_floods import answered, flood
from tests.functional.upstream import Upstream

TRUSTED = "[access]\ntrust-loopback = true\n"


def limited(limits: str) -> tuple[str, ...]:
    """Return the words of a command that runs another with limits of the shell's ``ulimit``."""
    return ("sh", "-c", f'ulimit {limits}; exec "$@"', "sh")


@pytest_twisted.ensureDeferred
async def test_the_soft_limit_is_raised_to_the_hard_one(upstream: Upstream, tmp_path: Path) -> None:
    """At its start the server takes all descriptors that it may, says so, and its metrics tell limit and use."""
    daemon = Daemon(
        directory=tmp_path, upstream=upstream.url, config=TRUSTED, under=limited("-Sn 100; ulimit -Hn 3000")
    )
    await daemon.start(reactor)
    try:
        assert "up to 3000 files and connections may be open (the soft limit was 100)" in daemon.output
        metrics = (await ask(reactor, daemon.url, "GET", "/metrics")).body.decode().splitlines()
        assert "cachew_descriptors_limit 3000.0" in metrics
        assert "cachew_pack_indexes_open_limit 375.0" in metrics
    finally:
        await daemon.end(signal.SIGTERM)


@pytest_twisted.ensureDeferred
@pytest.mark.timeout(60)
async def test_clients_that_take_all_connections_leave_descriptors_for_the_work(
    upstream: Upstream, git: Git, tmp_path: Path
) -> None:
    """More idle clients than there may be descriptors are turned away; those within the bound are still served."""
    repositories.make_repository(upstream.path("org/repo"), commits=3)
    daemon = Daemon(directory=tmp_path, upstream=upstream.url, config=TRUSTED, under=limited("-n 200"))
    await daemon.start(reactor)
    try:
        held = await flood(int(daemon.url.rpartition(":")[2]), b"")
        refused = await answered(daemon.url)
        assert refused.status == 503 and "retry-after" in refused.headers
        for client in held[:20]:
            client.transport.abortConnection()
        await answered_well(daemon.url)
        await git.run("clone", "-q", f"{daemon.url}/git/git.example/org/repo", "clone")
        for client in held:
            client.transport.abortConnection()
    finally:
        await daemon.end(signal.SIGTERM)


async def answered_well(url: str) -> None:
    """Ask until it is seen that some of the clients have gone."""
    while (await answered(url)).status != 200:
        pass
