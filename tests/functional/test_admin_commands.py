"""``cachew admin``: a server is looked after from the command line."""

import json
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from cachew.cli.main import run
from tests.functional.conftest import Start
from tests.functional.repositories import make_repository
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream

NAME = "git.example/org/repo"


class Commands:
    """Runs the command in a thread, while the server is in the reactor's."""

    def __init__(self, cachew: Cachew, capsys: pytest.CaptureFixture[str]) -> None:
        self._options = ["--url", cachew.url]
        self._admin = ["admin", "--token-file", str(cachew.state / "admin-token")]
        self._capsys = capsys

    async def __call__(self, *words: str, status: int = 0) -> str:
        """Run ``cachew admin WORDS`` and return what it prints."""
        self._capsys.readouterr()
        code = await deferToThread(run, [*self._options, *self._admin, *words])
        printed = self._capsys.readouterr()
        assert code == status, printed.err
        return printed.out if status == 0 else printed.err

    async def json(self, *words: str) -> Any:
        """Run a command with ``--json`` and return what it has found."""
        return json.loads(await self(*words, "--json"))


@pytest_twisted.ensureDeferred
async def test_a_server_is_looked_after_from_the_command_line(
    upstream: Upstream, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """A repository is mirrored before anybody asks, shown, worked on, forgotten; level, log and config are at hand."""
    make_repository(upstream.path("org/repo"), commits=2)
    cachew = await start()
    admin = Commands(cachew, capsys)
    assert await admin("repositories") == ""
    assert "is not mirrored" in await admin("show", NAME, status=1)
    assert (await admin.json("add", f"https://{NAME}.git"))["repository"] == NAME
    await cachew.mirrored("org/repo")
    assert [(one["name"], one["state"]) for one in await admin.json("repositories", "--state", "ready")] == [
        (NAME, "ready")
    ]
    assert await admin("repositories", "--state", "error") == ""
    assert await admin("repositories", "--upstream", "git.exam") == ""
    assert (await admin("repositories")).split()[0::3] == ["ready", NAME]
    assert (await admin.json("show", NAME))["refs"] == 1
    for action in ("fetch", "snapshot", "repack", "scrub"):
        assert await admin(action, NAME) == ""
        await cachew.quiet()
    assert (await admin.json("show", NAME))["snapshot"] is not None
    assert (await admin.json("status"))["waiting"] == 0
    assert "up for" in await admin("status")
    assert await admin("log-level", "warn") == "warn\n"
    assert cachew.parts.runtime.environment.log.level == "warn"
    assert await admin.json("log-level", "info") == {"level": "info"}
    assert f"scrub of {NAME} asked for" in await admin("tail", "--lines", "200")
    cachew.config += '[git]\nsnapshot-interval = "2h"\nmax-fetches = 2'
    assert await admin("reload") == "counts now: git.snapshot-interval\ncounts from the next start: git.max-fetches\n"
    cachew.config += "\nmax-clones = 0"
    assert "test.toml: git.max-clones: must be at least 1" in await admin("reload", status=1)
    assert await admin("forget", NAME) == ""
    await cachew.quiet()
    assert await admin("repositories") == ""
    assert "is not among the configured upstreams" in await admin("add", "elsewhere.example/x", status=1)
