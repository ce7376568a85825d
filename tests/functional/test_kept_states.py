"""What a released version has left is read by every later one."""

import tarfile
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from cachew.server.stateformat import FORMAT, read_format
from tests.functional.daemon import Daemon
from tests.functional.gitclient import Git
from tests.functional.keptstates import CONFIG, CONTENT, DIRECTORY, OBJECT, SNAPSHOT, admin_token, repository_in
from tests.functional.rawhttp import ask
from tests.functional.server import HOST
from tests.functional.upstream import Upstream


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kept", sorted(DIRECTORY.glob("*.tar.gz")), ids=lambda path: path.name.removesuffix(".tar.gz"))
async def test_the_state_of_a_released_version_is_read(
    upstream: Upstream, git: Git, tmp_path: Path, kept: Path
) -> None:
    """Its mirror serves without being cloned again; its objects, snapshot and token are there; the mark is today's."""
    repository = repository_in(upstream)
    with tarfile.open(kept) as archive:
        archive.extractall(tmp_path, filter="data")
    token = admin_token(tmp_path / "state")
    server = Daemon(directory=tmp_path, upstream=upstream.url, config=CONFIG)
    await server.start(reactor)
    try:
        await git.run("clone", "-q", f"{server.url}/git/{HOST}/org/repo", "copy")
        await git.run("-C", "copy", "fsck", "--strict")
        assert (await git.run("-C", "copy", "rev-parse", "HEAD")).out == repository.commit()
        assert not upstream.count("pack") and "mirrored" not in server.output
        answer = await ask(reactor, server.url, "GET", OBJECT, token)
        assert (answer.status, answer.body) == (200, CONTENT)
        snapshot = await ask(reactor, server.url, "HEAD", SNAPSHOT)
        assert snapshot.headers["x-cachew-snapshot-commit"] == repository.commit()
        found = read_format(tmp_path / "state")
        assert found is not None and found.number == FORMAT
        assert "Traceback" not in server.output and "critical" not in server.output
    finally:
        await server.kill()
