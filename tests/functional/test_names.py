"""Repositories whose names hold what forges allow: blanks, letters of any language, signs, .lock and a leading dash."""

import pytest
import pytest_twisted
from twisted.internet import reactor

from cachew.mirrors.identity import Identity
from tests.functional.conftest import Start
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.rawhttp import ask
from tests.functional.repositories import make_repository, push_commit
from tests.functional.restoring import cachew_command
from tests.functional.server import HOST, UNSCHEDULED
from tests.functional.upstream import Upstream

ALICE = basic("alice", "secret")
NAMES = {
    "My Org/_git/größe": "My%20Org/_git/gr%C3%B6%C3%9Fe",
    "o/a, & b'(c)!=d;e:f": "o/a%2C%20%26%20b%27%28c%29%21%3Dd%3Be%3Af",
    "-dash/x.lock": "-dash/x.lock",
    ".o/100%": ".o/100%25",
}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("name", NAMES)
async def test_any_name_is_served(name: str, upstream: Upstream, start: Start, git: Git) -> None:
    """A repository of any name is cloned, pushed to, made into artefacts and acted on, by its percent-encoded name."""
    repository = make_repository(upstream.path(name), commits=3)
    upstream.gate.allow_push(name, ALICE)
    server, path = await start(UNSCHEDULED), NAMES[name]
    url = f"{server.url}/git/{HOST}/{path}"
    await git.run("clone", "-q", url, "copy")
    mirror = await server.mirrored(name)
    assert mirror.upstream_url == f"{upstream.url}{path}" and mirror.identity.name == f"{HOST}/{path}"
    base = repository.commit()
    await git.run("-C", "copy", "commit", "-q", "--allow-empty", "-m", "more")
    pusher = {"http.extraHeader": f"Authorization: {ALICE}"}
    await git.run("-C", "copy", "push", "-q", f"{url}.git", "HEAD:main", config=pusher)
    assert repository.commit() != base
    answered = await server.post(f"{path}/ensure-refs", {"refs": {"refs/heads/main": repository.commit()}})
    assert answered["refs"] == {"refs/heads/main": repository.commit()}
    bundle = await server.get(f"{path}/snapshot.bundle?base={base}")
    assert bundle.code == 200 and (await bundle.content()).startswith(b"# v2 git bundle")
    bearer = f"Authorization: Bearer {server.token}"
    acted = await ask(reactor, server.url, "POST", f"/admin/repositories/{HOST}/{path}/fetch", bearer)
    assert acted.status == 202
    await server.quiet()
    places = [place.name for place in (server.state / "mirrors" / HOST).iterdir()]
    assert places == [Identity(HOST, name).directory_name.partition("/")[2]]


@pytest_twisted.ensureDeferred
async def test_the_client_restores_any_name(upstream: Upstream, start: Start, git: Git) -> None:
    """A checkout restored by a name as it is has the upstream's percent-encoded URL as its origin."""
    name = "My Org/_git/größe"
    repository = make_repository(upstream.path(name), commits=3)
    server = await start(UNSCHEDULED)
    url = f"{server.url}/git/{HOST}/{name}"
    await cachew_command(reactor, git, "--url", server.url, "git", "restore", url, "there")
    origin = (await git.run("-C", "there", "remote", "get-url", "origin")).out
    assert origin == f"{upstream.url}{NAMES[name]}"
    commit = push_commit(repository)
    await git.run("-C", "there", "fetch", "-q", "origin")
    assert (await git.run("-C", "there", "rev-parse", "origin/main")).out == commit


@pytest_twisted.ensureDeferred
async def test_names_that_are_written_as_they_are(upstream: Upstream, start: Start, git: Git) -> None:
    """A name that a user types without percent-encoding it is the same repository's."""
    repository = make_repository(upstream.path("größe/ü"), commits=1)
    server = await start(UNSCHEDULED)
    await git.run("clone", "-q", f"{server.url}/git/{HOST}/größe/ü", "copy")
    assert (await git.run("-C", "copy", "rev-parse", "HEAD")).out == repository.commit()
    await git.run("clone", "-q", f"{server.url}/git/{HOST}/gr%c3%b6%c3%9fe/%C3%BC", "again")
    assert [mirror.identity.path for mirror in server.parts.mirrors.collection] == ["größe/ü"]


@pytest_twisted.ensureDeferred
async def test_one_mirror_where_case_makes_no_difference(upstream: Upstream, start: Start, git: Git) -> None:
    """On a host that ignores case every spelling is one mirror, and a push by one is seen at once by the others."""
    repository = make_repository(upstream.path("org/repo"), commits=1)
    upstream.gate.allow_push("org/repo", ALICE)
    server = await start(f"ignore-case = true\n{UNSCHEDULED}")
    base = f"{server.url}/git/{HOST}"
    await git.run("clone", "-q", f"{base}/Org/REPO", "copy")
    await server.mirrored("org/repo")
    await git.run("-C", "copy", "commit", "-q", "--allow-empty", "-m", "more")
    pusher = {"http.extraHeader": f"Authorization: {ALICE}"}
    await git.run("-C", "copy", "push", "-q", f"{base}/ORG/repo.git", "HEAD:main", config=pusher)
    for spelling in ("Org/REPO", "org/repo", "oRG/Repo.git"):
        listed = await git.run("ls-remote", f"{base}/{spelling}", "refs/heads/main")
        assert listed.out.split()[0] == repository.commit()
    assert [mirror.identity.path for mirror in server.parts.mirrors.collection] == ["org/repo"]
