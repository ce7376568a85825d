"""Upstreams that redirect to other upstreams."""

import json

import pytest
import pytest_twisted
from twisted.internet import reactor

from cachew.plumbing.errors import UpstreamUnreachable
from cachew.snapshots.variants import LFS, Variant
from tests.functional import repositories
from tests.functional.canary import marked
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.lfs import MEDIA_TYPE
from tests.functional.misbehaviour import redirect
from tests.functional.rawhttp import ask
from tests.functional.server import HOST, UNSCHEDULED
from tests.hosts.conftest import Before, Hosted
from tests.hosts.standins import Host

URL = f"https://{HOST}/org/repo"
ALICE = basic("alice", "s3cret")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("mode", ["upstream", "trusted-network"])
async def test_a_redirect_does_not_lead_past_a_rule(hosted: Hosted, before: Before, git: Git, mode: str) -> None:
    """What a rule closes is had by no name: listings, clones, pushes and snapshots are refused, with the reason."""
    first, closed = await hosted(Host), await hosted(Host)
    secret = repositories.make_repository(closed.path("org/repo"), seed=7)
    closed.gate.allow_push("org/repo", "", ALICE)
    rules = f'[access]\nmode = "{mode}"\n[[access.rule]]\naction = "deny"\npath = "/git/closed.example"\n'
    cachew = await before(first, f'[upstreams."closed.example"]\nurl = "{closed.url}"\n{UNSCHEDULED}\n{rules}')
    for service in ("git-upload-pack", "git-receive-pack"):
        kind = "push-refs" if service == "git-receive-pack" else "caps"
        first.misbehave(redirect(f"{closed.url}org/repo/info/refs?service={service}"), kind=kind)
    first.misbehave(redirect(f"{closed.url}org/repo/info/refs?service=git-upload-pack"), kind="refs")
    git.instead_of(*cachew.instead_of)
    for protocol in (0, 2):
        listed = await git.run("ls-remote", URL, protocol=protocol, check=False)
        assert listed.code == 128 and secret.commit() not in listed.out
    paths = ("info/refs?service=git-receive-pack", "snapshot.tar.zst", "bundle-list")
    for path in paths:
        response = await cachew.get(f"org/repo/{path}", headers={"Authorization": ALICE})
        text = await response.text()
        assert response.code == 502 or (path == "bundle-list" and response.code == 404)
        assert secret.commit() not in text
        assert "a rule of this server closes" in text or response.code == 404
    assert closed.journal.exchanges == []


@pytest_twisted.ensureDeferred
async def test_an_lfs_address_does_not_lead_past_a_rule(hosted: Hosted, before: Before) -> None:
    """An upstream that names the place of a closed repository of the same host gets nobody its objects."""
    host = await hosted(Host)
    repositories.make_repository(host.path("org/repo"))
    oid = host.lfs.put("org/closed", b"secret")
    href = f"{host.url}org/closed.git/info/lfs/storage/{oid}"
    host.lfs.put("org/repo", b"secret")
    host.lfs.said = {"href": href}
    rule = f'[[access.rule]]\naction = "deny"\npath = "/git/{HOST}/org/closed"\n'
    cachew = await before(host, UNSCHEDULED + rule)
    body = json.dumps({"operation": "download", "transfers": ["basic"], "objects": [{"oid": oid, "size": 6}]}).encode()
    headers = (f"Content-Type: {MEDIA_TYPE}", f"Accept: {MEDIA_TYPE}", f"Authorization: {ALICE}")
    path = f"/git/{HOST}/org/repo.git/info/lfs/objects/batch"
    answer = await ask(reactor, cachew.url, "POST", path, *headers, body=body)
    (entry,) = json.loads(answer.body)["objects"]
    assert entry["actions"]["download"]["href"] == href, "as the upstream wrote it, for the client to try by itself"


@pytest_twisted.ensureDeferred
async def test_the_servers_credential_goes_no_further_than_its_prefix(hosted: Hosted, before: Before) -> None:
    """A redirect within a host gets none that is for another part of it."""
    host = await hosted(Host)
    token = marked("t0ken")
    repositories.make_repository(host.path("other/repo"))
    host.gate.protect("other/repo", basic("x", token))
    target = f"{host.url}other/repo/info/refs?service=git-upload-pack"
    host.misbehave(redirect(target), repository="org/repo")
    credential = f'[[credentials]]\nkind = "token"\nurl-prefix = "{host.url}org/"\nusername = "x"\ntoken = "{token}"\n'
    cachew = await before(host, f'{UNSCHEDULED}[access]\nmode = "trusted-network"\n{credential}')
    response = await cachew.get("org/repo/info/refs?service=git-upload-pack")
    assert response.code != 200
    shown = {one.repository: one.headers.get("authorization") for one in host.journal.exchanges}
    assert shown == {"org/repo": basic("x", token), "other/repo": None}


@pytest_twisted.ensureDeferred
async def test_the_servers_own_lfs_downloads_do_not_lead_past_a_rule(hosted: Hosted, before: Before) -> None:
    """Neither a redirect of a storage nor the address of one brings a closed repository's objects into a snapshot."""
    host = await hosted(Host)
    repository = repositories.make_repository(host.path("org/repo"))
    secret = b"secret " * 20
    oid = host.lfs.put("org/closed", secret)
    host.lfs.put("org/repo", secret)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(secret)}\n"
    repositories.push_commit(repository, name="large.bin", data=pointer.encode())
    closed = f"{host.url}org/closed.git/info/lfs/storage/{oid}"
    rule = f'[[access.rule]]\naction = "deny"\npath = "/git/{HOST}/org/closed"\n'
    cachew = await before(host, UNSCHEDULED + rule)
    mirror = await cachew.mirrored("org/repo")
    make = cachew.parts.snapshots.archives.make
    host.lfs.said = {"href": closed}
    with pytest.raises(UpstreamUnreachable, match="where none is fetched from"):
        await make(mirror.identity, Variant(LFS))
    host.lfs.said = {}
    host.misbehave(redirect(closed, 302), kind="lfs-object", repository="org/repo")
    with pytest.raises(UpstreamUnreachable, match="where none is fetched from"):
        await make(mirror.identity, Variant(LFS))
    assert not [one for one in host.journal.exchanges if one.repository == "org/closed"]
    host.behave()
    await make(mirror.identity, Variant(LFS))
