"""What requests call themselves at hosts that want to hear of git."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted
from twisted.internet import reactor

from tests.functional import repositories
from tests.functional.canary import marked
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.server import HOST, UNSCHEDULED, Cachew
from tests.hosts.standins import GitHub

ALICE = basic("alice", "s3cret")
OWN = re.compile(r"git/[0-9]+\.[0-9.]+ cachew/\S+")


@pytest_twisted.async_yield_fixture
async def github(tmp_path: Path) -> AsyncIterator[GitHub]:
    """GitHub with a private repository that has an LFS object."""
    root = tmp_path / "upstream"
    root.mkdir()
    host = GitHub(reactor=reactor, root=root)
    repository = repositories.make_repository(host.path("org/repo"), commits=2)
    oid = host.lfs.put("org/repo", b"large")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5\n"
    repositories.push_commit(repository, name=".gitattributes", data=b"*.bin filter=lfs diff=lfs merge=lfs -text\n")
    repositories.push_commit(repository, name="a.bin", data=pointer.encode())
    host.gate.protect("org/repo", ALICE, unknown=404)
    host.gate.allow_push("org/repo", ALICE)
    await host.start()
    yield host
    await host.stop()


@pytest_twisted.ensureDeferred
async def test_every_request_has_a_user_agent(github: GitHub, git: Git, tmp_path: Path) -> None:
    """A client's own is relayed; what the server asks for itself names git's version and its own, LFS included."""
    credential = f'[[credentials]]\nkind = "token"\nurl-prefix = "{github.url}"\nusername = "alice"\n'
    config = f'{UNSCHEDULED}{credential}token = "{marked("s3cret")}"\n'
    cachew = Cachew(reactor=reactor, state=tmp_path / "state", upstream=github.url, config=config)
    await cachew.start()
    git.instead_of(*cachew.instead_of)
    git.config["http.extraHeader"] = f"Authorization: {ALICE}"
    git.config["http.userAgent"] = "git/9.8.7-of-the-client"
    await git.run("lfs", "install", "--skip-repo")
    try:
        for name, protocol in (("cold", 2), ("warm", 0)):
            await git.run("clone", "-q", f"https://{HOST}/org/repo", name, protocol=protocol)
            assert (git.home / name / "a.bin").read_bytes() == b"large"
            await cachew.mirrored("org/repo")
        await git.run("-C", "cold", "commit", "-q", "--allow-empty", "-m", "more")
        await git.run("-C", "cold", "push", "-q", "origin", "main")
        await cachew.quiet()
        await cachew.get("org/repo/lfs-snapshot.tar.zst", headers={"Authorization": ALICE})
        await cachew.quiet()
    finally:
        await cachew.stop()
    shown = {(one.kind, one.headers.get("user-agent", "")) for one in github.journal.exchanges}
    clients = {kind for kind, agent in shown if agent == "git/9.8.7-of-the-client"}
    assert clients >= {"pack", "push", "push-refs"}
    others = {(kind, agent) for kind, agent in shown if agent != "git/9.8.7-of-the-client"}
    own = {kind for kind, agent in others if OWN.fullmatch(agent)}
    # What the host speaks is told to the client out of the answer by which his right was found out.
    assert own >= {"caps", "refs", "pack", "lfs-object"}
    # git-lfs speaks of itself, whoever runs it, and no setting changes that.
    rest = {(kind, agent.split("/")[0]) for kind, agent in others if not OWN.fullmatch(agent)}
    assert rest <= {("lfs", "git-lfs"), ("lfs-object", "git-lfs")}
