"""Hosts that speak git's dumb protocol: their repositories can be cloned through the server as directly, and more."""

import os

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.functional import repositories
from tests.functional.gitclient import Git
from tests.functional.restoring import cachew_command
from tests.functional.server import HOST, UNSCHEDULED
from tests.hosts.conftest import Before, Hosted
from tests.hosts.standins import Dumb, GitHub


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("protocol", [0, 2])
async def test_files_are_enough(hosted: Hosted, before: Before, git: Git, protocol: int) -> None:
    """A cold clone goes on file by file; the mirror's clients get depths and snapshots, and what is new."""
    host = await hosted(Dumb)
    repository = repositories.make_repository(host.path(host.repository), commits=3, tags=["v1"])
    empty = repository.git("hash-object", "-t", "tree", "-w", "--stdin")
    text = f"tree {empty}\nauthor A <a@x> 1 +0000\ncommitter A <a@x> 1 +0000\n\nwithout files\n"
    commit = repository.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=text.encode())
    repository.git("update-ref", "refs/heads/empty", commit)
    repository.git("update-server-info")
    cachew = await before(host, UNSCHEDULED + 'ref-check-interval = "0s"')
    url = f"{cachew.url}/git/{HOST}/{host.repository}"
    await git.run("clone", "-q", url, "cold", protocol=protocol)
    mirror = await cachew.mirrored(host.repository)
    await cachew.quiet()
    assert mirror.place.repository.packs.count() == 1
    assert not mirror.place.repository.objects.missing([empty]) and await mirror.verification.proven()
    await git.run("clone", "-q", "--depth=1", url, "warm", protocol=protocol)
    for clone, depth in (("cold", "3"), ("warm", "1")):
        assert (await git.run("-C", clone, "rev-parse", "HEAD")).out == repository.commit()
        assert (await git.run("-C", clone, "rev-list", "--count", "HEAD")).out == depth
    new = repositories.push_commit(repository, "main", "later")
    repository.git("update-server-info")
    await git.run("-C", "cold", "pull", "-q", protocol=protocol)
    assert (await git.run("-C", "cold", "rev-parse", "HEAD")).out == new
    await cachew_command(reactor, git, "git", "restore", url, "restored")
    assert (await git.run("-C", "restored", "rev-parse", "HEAD")).out == new
    broken = repositories.push_commit(repository, "main", "never whole")
    blob = repository.git("rev-parse", f"{broken}:pushed")
    (repository.path / "objects" / blob[:2] / blob[2:]).unlink()
    repository.git("update-server-info")
    await git.run("-C", "cold", "fetch", "-q", protocol=protocol, check=False)
    await cachew.quiet()
    there = mirror.place.repository
    assert there.objects.missing([new, broken]) == [broken] and there.packs.count() == 2
    assert not there.ledger.unverified()
    assert not [name for name in os.listdir(there.directory / "objects") if name not in ("info", "pack")]


@pytest_twisted.ensureDeferred
async def test_files_of_others_are_not_shown(hosted: Hosted, before: Before) -> None:
    """An upstream that speaks git's own protocol is asked once who may read, and for none of its files."""
    host = await hosted(GitHub)
    repositories.make_repository(host.path(host.repository), commits=1)
    cachew = await before(host, UNSCHEDULED)
    for file in ("HEAD", "objects/info/packs"):
        assert (await cachew.get(f"{host.repository}/{file}")).code == 404
    assert host.count() == host.count("caps") == 1
