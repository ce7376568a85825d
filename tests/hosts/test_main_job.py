"""The main job against every host: what a developer and a build do all day, with both protocols."""

import hmac
import json
from base64 import b64encode
from urllib.parse import quote

import pytest
import pytest_twisted
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from tests.functional import repositories
from tests.functional.canary import marked
from tests.functional.gitclient import Git
from tests.functional.lfs import MEDIA_TYPE
from tests.functional.repositories import Repository
from tests.functional.restoring import cachew_command
from tests.functional.server import HOST, Cachew
from tests.hosts.conftest import Before, Hosted
from tests.hosts.standins import ALL, Gerrit, GitLab, Gogs, Host, WithoutSuffix

CONFIG = """
credential-headers = ["Cookie"]
[webhook]
github-secret = "hook"
gitea-secret = "hook"
gitlab-token = "whsec_aG9vaw=="
bitbucket-secret = "hook"
azure-devops-password = "hook"
[git]
ref-check-interval = "1h"
snapshot-interval = "0s"
mirror-snapshot-interval = "0s"
repack-interval = "0s"
"""
SPELLED = (GitLab, Gogs, WithoutSuffix)
"""Hosts that want names to be spelled in one way."""
TOKEN, OTHER = "t0ken", "wr0ng"


class Day:
    """What is done against one host."""

    def __init__(self, host: Host, repository: Repository, cachew: Cachew, git: Git, protocol: int) -> None:
        self.host, self.repository, self.cachew, self.git, self.protocol = host, repository, cachew, git, protocol
        self.url = f"https://{HOST}/{quote(host.repository)}"

    def shown(self, token: str) -> tuple[str, str]:
        """Return the header that shows a token: its name and its value."""
        if isinstance(self.host, Gerrit):
            return "Cookie", f"o={marked(token)}"
        return "Authorization", self.host.credential(token)

    async def run(self, *words: str, token: str = "", check: bool = True) -> str | None:
        """Run git and return what it says; None when it fails and that is looked for."""
        config = {"http.extraHeader": ": ".join(self.shown(token))} if token else {}
        result = await self.git.run(*words, protocol=self.protocol, check=check, config=config)
        return result.out if result.code == 0 else None

    async def clone(self, name: str, *, token: str = "") -> None:
        await self.run("clone", "-q", self.url, name, token=token)
        assert await self.run("-C", name, "rev-parse", "HEAD") == self.repository.commit()

    async def push(self, name: str, *, token: str) -> None:
        await self.run("-C", name, "commit", "-q", "--allow-empty", "-m", "more")
        await self.run("-C", name, "push", "-q", "origin", "main", token=token)
        assert await self.run("-C", name, "rev-parse", "HEAD") == self.repository.commit()

    async def large_file(self, data: bytes) -> None:
        """Download an object as git-lfs does."""
        oid = self.host.lfs.put(self.host.full, data)
        http = HTTPClient(Agent(reactor))
        body = {"operation": "download", "transfers": ["basic"], "objects": [{"oid": oid, "size": len(data)}]}
        own = Headers({name: [value] for name, value in (self.shown(TOKEN),)})
        headers = own.copy()
        headers.addRawHeader("Content-Type", MEDIA_TYPE)
        headers.addRawHeader("Accept", MEDIA_TYPE)
        address = f"{self.cachew.url}/git/{HOST}/{quote(self.host.repository)}.git/info/lfs/objects/batch"
        response = await http.post(address, data=json.dumps(body).encode(), headers=headers)
        assert response.code == 200, await response.text()
        (entry,) = (await response.json())["objects"]
        action = entry["actions"]["download"]
        assert action["href"].startswith(self.cachew.url), action
        for name, value in action["header"].items():
            own.addRawHeader(name, value)
        found = await http.get(action["href"], headers=own)
        assert await found.content() == data

    async def tell(self) -> None:
        """Send the forge's event of a push."""
        url = f"{self.host.url}{quote(self.host.full)}"
        event: dict[str, object] = {"ref": "refs/heads/main", "repository": {"clone_url": f"{url}.git"}}
        if self.host.webhooks == "gitlab":
            event |= {"repository": {"http_url": f"{url}.git"}, "project": {"git_http_url": f"{url}.git"}}
        elif self.host.webhooks == "bitbucket":
            event = {"repository": {"full_name": self.host.repository, "links": {"html": {"href": url}}}}
        elif self.host.webhooks == "azure-devops":
            event = {"eventType": "git.push", "resource": {"repository": {"remoteUrl": url.replace("//", "//org@", 1)}}}
        body = json.dumps(event).encode()
        signature = hmac.new(b"hook", body, "sha256").hexdigest()
        standard = b64encode(hmac.digest(b"hook", b"1.2." + body, "sha256")).decode()
        headers = {
            "github": {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signature}"},
            "gitlab": {
                "X-Gitlab-Event": "Push Hook",
                "webhook-id": "1",
                "webhook-timestamp": "2",
                "webhook-signature": f"v1,{standard}",
            },
            "gitea": {"X-Gitea-Event": "push", "X-Gitea-Signature": signature},
            "bitbucket": {"X-Event-Key": "repo:push", "X-Hub-Signature": f"sha256={signature}"},
            "azure-devops": {"Authorization": f"Basic {b64encode(b'any:hook').decode()}"},
        }[self.host.webhooks]
        sent = Headers({name: [value] for name, value in headers.items()})
        sent.addRawHeader("Content-Type", "application/json")
        address = f"{self.cachew.url}/webhook/{self.host.webhooks}"
        response = await HTTPClient(Agent(reactor)).post(address, data=body, headers=sent)
        assert response.code == 202, await response.text()


async def begin(kind: type[Host], protocol: int, hosted: Hosted, before: Before, git: Git) -> Day:
    """Start a host with a repository, and a server before it."""
    host = await hosted(kind)
    repository = repositories.make_repository(host.path(host.full), commits=3, tags=["v1"])
    host.gate.allow_push(host.full, "" if issubclass(kind, Gerrit) else host.credential(TOKEN))
    cachew = await before(host, CONFIG)
    git.instead_of(*cachew.instead_of)
    return Day(host, repository, cachew, git, protocol)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("protocol", [0, 2])
@pytest.mark.parametrize("kind", ALL)
async def test_a_day_with_a_public_repository(
    hosted: Hosted, before: Before, git: Git, kind: type[Host], protocol: int
) -> None:
    """Cold and warm clones, a push, the fetch after it, LFS, a restore and an event of the host's own push."""
    day = await begin(kind, protocol, hosted, before, git)
    await day.clone("cold")
    await day.cachew.mirrored(day.host.repository)
    await day.clone("warm")
    await day.push("warm", token=TOKEN)
    await day.run("-C", "cold", "pull", "-q")
    assert await day.run("-C", "cold", "rev-parse", "HEAD") == day.repository.commit()
    await day.large_file(b"large")
    if protocol == 2:
        address = f"{day.cachew.url}/git/{HOST}/{quote(day.host.repository)}"
        await cachew_command(reactor, git, "git", "restore", address, "restored")
        assert await day.run("-C", "restored", "rev-parse", "HEAD") == day.repository.commit()
    if day.host.webhooks and (protocol == 2 or day.host.webhooks in ("github", "gitlab", "gitea")):
        new = repositories.push_commit(day.repository, "main", "by-somebody-else")
        await day.tell()
        listed = await day.run("ls-remote", day.url, "refs/heads/main")
        assert listed == f"{new}\trefs/heads/main"
    seen = {name for one in day.host.journal.exchanges for name in one.headers if name.startswith("x-")}
    assert seen <= {"x-request-id"}, "the server's own, by which its logs and the host's are put together"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("protocol", [0, 2])
@pytest.mark.parametrize("kind", ALL)
async def test_a_day_with_a_private_repository(
    hosted: Hosted, before: Before, git: Git, kind: type[Host], protocol: int
) -> None:
    """Clones, a push and LFS with a token that the host lets in, and nothing for whoever has none or another one."""
    day = await begin(kind, protocol, hosted, before, git)
    day.host.close(TOKEN if not issubclass(kind, Gerrit) else marked(TOKEN))
    for name in ("first", "second"):
        assert await day.run("ls-remote", day.url, check=False) is None
        assert await day.run("ls-remote", day.url, token=OTHER, check=False) is None
        await day.clone(name, token=TOKEN)
    await day.push("second", token=TOKEN)
    await day.run("-C", "first", "pull", "-q", token=TOKEN)
    assert await day.run("-C", "first", "rev-parse", "HEAD") == day.repository.commit()
    await day.large_file(b"large and secret")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kind", SPELLED)
async def test_a_push_may_come_first(hosted: Hosted, before: Before, git: Git, kind: type[Host]) -> None:
    """It needs nothing that another request would have found out."""
    day = await begin(kind, 2, hosted, before, git)
    await git.run("clone", "-q", f"{day.host.path(day.host.full)}", "clone")
    await git.run("-C", "clone", "remote", "set-url", "origin", day.url)
    await day.push("clone", token=TOKEN)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("spelled", ["", ".git"])
@pytest.mark.parametrize("kind", SPELLED)
async def test_any_request_may_come_first(
    hosted: Hosted, before: Before, git: Git, kind: type[Host], spelled: str
) -> None:
    """An LFS batch, a lock and the POST of a push reach their host however the client has spelled them."""
    day = await begin(kind, 2, hosted, before, git)
    headers = Headers({"Authorization": [day.host.credential(TOKEN)], "Content-Type": [MEDIA_TYPE]})
    http = HTTPClient(Agent(reactor))
    batch = json.dumps({"operation": "download", "objects": [{"oid": "0" * 64, "size": 1}]}).encode()
    for state, (operation, body, status) in enumerate(
        (
            ("info/lfs/objects/batch", batch, 200),
            ("info/lfs/locks", b'{"path": "x"}', 404),
            ("git-receive-pack", b"0000", 200),
            ("git-receive-pack", b"0000" + b"\0" * 2_000_000, 200),
        )
    ):
        cachew = await before(day.host, CONFIG, state=f"another{state}")
        address = f"{cachew.url}/git/{HOST}/{quote(day.host.repository)}{spelled}/{operation}"
        if operation == "git-receive-pack":
            headers.setRawHeaders("Content-Type", ["application/x-git-receive-pack-request"])
        response = await http.post(address, data=body, headers=headers)
        assert response.code == status, (operation, await response.text())
        if operation == "info/lfs/locks":
            assert await response.json() == {"message": "not here"}, "the host's own LFS server says so"


@pytest_twisted.ensureDeferred
async def test_what_was_found_out_outlives_a_restart(hosted: Hosted, before: Before, git: Git) -> None:
    """A server that is started again asks for each repository as it is spelled, at once."""
    day = await begin(GitLab, 2, hosted, before, git)
    await day.clone("clone")
    await day.large_file(b"large")
    await day.cachew.quiet()
    await day.cachew.stop()
    day.cachew = await before(day.host, CONFIG)
    git.config = {name: value for name, value in git.config.items() if not name.startswith("url.")}
    git.instead_of(*day.cachew.instead_of)
    known = len(day.host.journal.exchanges)
    await day.push("clone", token=TOKEN)
    await day.run("ls-remote", day.url)
    await day.cachew.quiet()
    asked = day.host.journal.exchanges[known:]
    assert asked and all(day.host.written_with_git(one) for one in asked)


@pytest_twisted.ensureDeferred
async def test_the_config_may_say_how_repositories_are_spelled(hosted: Hosted, before: Before, git: Git) -> None:
    """Then nothing else is tried."""
    host = await hosted(Gogs)
    repositories.make_repository(host.path(host.full))
    for suffix, code in ((".git", 0), ("", 128)):
        cachew = await before(host, f'suffix = "{suffix}"\n{CONFIG}', state=f"with{suffix}")
        url = f"{cachew.url}/git/{HOST}/{host.repository}"
        known = len(host.journal.exchanges)
        assert (await git.run("ls-remote", url, check=False)).code == code
        asked = host.journal.exchanges[known:]
        assert asked and {host.written_with_git(one) for one in asked} == {suffix == ".git"}
        await cachew.quiet()
        await cachew.stop()
