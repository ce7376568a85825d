"""Hosts behind a gate that wants to see a certificate, as nginx before a GitLab: fluxcd/source-controller#978."""

import functools
from pathlib import Path

import pytest_twisted

from tests.functional import repositories
from tests.functional.certificates import Authority
from tests.functional.gitclient import Git
from tests.functional.server import HOST, UNSCHEDULED
from tests.hosts.conftest import Before, Hosted
from tests.hosts.standins import Host


@pytest_twisted.ensureDeferred
async def test_a_host_behind_a_gate(hosted: Hosted, before: Before, git: Git, tmp_path: Path) -> None:
    """The server and its git show theirs: clones pass through, and the mirror is made and follows a push."""
    authority, own = Authority(tmp_path), tmp_path / "own.pem"
    own.write_bytes(authority.server_pem("client"))
    host = await hosted(functools.partial(Host, tls=authority.gate_options()))
    repository = repositories.make_repository(host.path("org/repo"), commits=2)
    files = f'ca-file = "{authority.path}"\nclient-certificate-file = "{own}"\n'
    cachew = await before(host, f'{files}{UNSCHEDULED}ref-check-interval = "0s"\n')
    git.instead_of(*cachew.instead_of)
    await git.run("clone", "-q", f"https://{HOST}/org/repo", "cold")
    mirror = await cachew.mirrored("org/repo")
    repositories.push_commit(repository)
    await mirror.remote.list_refs()
    await git.run("-C", "cold", "pull", "-q")
    await cachew.quiet()
    assert mirror.refs.head_commit == repository.commit()
    await git.run("clone", "-q", f"https://{HOST}/org/repo", "warm")
    assert (await git.run("-C", "warm", "rev-parse", "HEAD")).out == repository.commit()
