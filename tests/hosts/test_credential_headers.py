"""Hosts to which clients prove themselves by other headers than ``Authorization``."""

import pytest
import pytest_twisted

from tests.functional import repositories
from tests.functional.canary import marked
from tests.functional.gitclient import Git
from tests.functional.server import HOST, UNSCHEDULED
from tests.hosts.conftest import Before, Hosted
from tests.hosts.standins import Gerrit

URL = f"https://{HOST}/org/repo"
ALICE = "o=" + marked("git-alice.example=1//x")
BOB = "o=" + marked("git-bob.example=1//y")
CONFIG = f'credential-headers = ["Cookie", "X-Key"]\n{UNSCHEDULED}ref-check-interval = "0s"\n'


def showing(line: str) -> dict[str, str]:
    return {"http.extraHeader": line}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("protocol", [0, 2])
async def test_a_cookie_is_a_credential(hosted: Hosted, before: Before, git: Git, protocol: int) -> None:
    """It lets its owner clone, fetch and push, cold and warm, and lets in nobody who shows another one, or none."""
    host = await hosted(Gerrit)
    repository = repositories.make_repository(host.path("org/repo"))
    host.gate.allow_push("org/repo", "")
    host.cookies = frozenset({ALICE})
    cachew = await before(host, CONFIG)
    git.instead_of(*cachew.instead_of)
    for name in ("cold", "warm"):
        words = ("clone", "-q", URL, name)
        await git.run(*words, protocol=protocol, config=showing(f"Cookie: cachew-admin=own; {ALICE}"))
        await cachew.quiet()
        for other in (f"Cookie: {BOB}", f"X-Key: {ALICE}", "X-Other: 1"):
            refused = await git.run("ls-remote", URL, protocol=protocol, check=False, config=showing(other))
            assert refused.code == 128 and repository.commit() not in refused.out
    await git.run("-C", "cold", "commit", "-q", "--allow-empty", "-m", "more")
    push = ("-C", "cold", "push", "-q", "origin", "main")
    assert (await git.run(*push, check=False, config=showing(f"Cookie: {BOB}"))).code != 0
    await git.run(*push, config=showing(f"Cookie: {ALICE}"))
    await git.run("-C", "warm", "pull", "-q", protocol=protocol, config=showing(f"Cookie: {ALICE}"))
    assert (await git.run("-C", "warm", "rev-parse", "HEAD")).out == repository.commit()
    assert not [one for one in host.journal.exchanges if "x-other" in one.headers]


@pytest_twisted.ensureDeferred
async def test_a_cookie_goes_nowhere_where_it_is_none(hosted: Hosted, before: Before, git: Git) -> None:
    """A host whose config names no such headers sees none of them."""
    host = await hosted(Gerrit)
    repositories.make_repository(host.path("org/repo"))
    cachew = await before(host, UNSCHEDULED)
    git.instead_of(*cachew.instead_of)
    await git.run("clone", "-q", URL, "clone", config=showing(f"Cookie: {ALICE}"))
    assert host.journal.exchanges and not [one for one in host.journal.exchanges if "cookie" in one.headers]
