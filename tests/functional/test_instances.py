"""A name is not a repository for ever: nothing that was kept before it became another one is sent after that."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.misbehaviour import Refuse, redirect
from tests.functional.rawhttp import ask
from tests.functional.readers import (
    ALICE,
    CAROL,
    CREDENTIALS,
    SERVER,
    Contents,
    Route,
    make_contents,
    send,
    warm_everything,
)
from tests.functional.replicas import tiers
from tests.functional.repositories import Repository
from tests.functional.server import HOST, Cachew, HeldClock
from tests.functional.test_readers import reveals
from tests.functional.upstream import Upstream

CONFIG = '[git]\nref-check-interval = "0s"\nsnapshot-interval = "0s"\nmirror-snapshot-interval = "0s"\n'


@dataclass
class Case:
    """A repository that becomes another one.

    :param name: its name.
    :param change: lets it become another one at the upstream, and returns what is there then.
    :param reader: whose right to read dates from after that.
    """

    name: str
    change: Callable[[Upstream, "Case"], Contents | None]
    reader: str | None
    old: Contents = field(default_factory=lambda: Contents("", ""))


def remove(upstream: Upstream, case: Case) -> None:
    """Delete the repository."""
    shutil.rmtree(upstream.path(case.name))


def remake(upstream: Upstream, case: Case) -> Contents:
    """Make another repository under its name."""
    return make_contents(upstream, case.name, f"open-{case.old.secret[-6:]}", seed=1000 + len(case.name))


def remade_public(upstream: Upstream, case: Case) -> Contents:
    """Delete it and make a public one."""
    remove(upstream, case)
    upstream.gate.publish(case.name)
    return remake(upstream, case)


def remade_for_another(upstream: Upstream, case: Case) -> Contents:
    """Delete it and make one for another user alone."""
    remove(upstream, case)
    upstream.gate.protect(case.name, SERVER, CAROL, unknown=404)
    return remake(upstream, case)


def renamed(upstream: Upstream, case: Case) -> Contents:
    """Give it another name, and its own to a new public one."""
    upstream.path(case.name).rename(upstream.path(f"{case.name}-moved"))
    upstream.gate.protect(f"{case.name}-moved", SERVER, ALICE, unknown=404)
    upstream.gate.publish(case.name)
    return remake(upstream, case)


def amended_and_published(upstream: Upstream, case: Case) -> None:
    """Amend the secret away, and publish it."""
    repository = Repository(upstream.path(case.name))
    for branch in ("main", case.old.secret):
        repositories.move_branch(repository, branch, case.old.first)
    repositories.delete_branch(repository, case.old.secret)
    repository.git("-c", "gc.pruneExpire=now", "gc", "-q", "--prune=now")
    upstream.gate.publish(case.name)


def transferred(upstream: Upstream, case: Case) -> None:
    """Give it to another owner, and redirect its name to another one's public repository."""
    upstream.path(case.name).rename(upstream.path(f"{case.name}-given"))
    upstream.gate.protect(f"{case.name}-given", SERVER, unknown=404)
    make_contents(upstream, f"{case.name}-other", "open-0f7e12", seed=77)
    other = f"{upstream.url}{case.name}-other/info/refs?service=git-upload-pack"
    for kind in ("caps", "refs", "pack"):
        upstream.misbehave(redirect(other), kind=kind, repository=case.name)


CASES: dict[str, Any] = {
    "remade-public": (remade_public, None),
    "remade-for-another": (remade_for_another, CAROL),
    "renamed": (renamed, None),
    "amended-and-published": (amended_and_published, None),
    "transferred": (transferred, None),
}


class World:
    """An upstream with private repositories that will be others, and servers before it, whose time is held."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.clock = HeldClock(cast(Any, reactor))
        self.cases = [Case(f"org/{name}", *how) for name, how in CASES.items()]
        for number, case in enumerate(self.cases):
            case.old = make_contents(upstream, case.name, f"canary-{number:06x}", seed=number + 1)
            upstream.gate.protect(case.name, SERVER, ALICE, unknown=404)

    async def warm(self, cachew: Cachew) -> None:
        """Have a server keep all that there can be of the repositories, and read it."""
        for case in self.cases:
            await warm_everything(cachew, case.old)
            for route in case.old.routes():
                response = await send(reactor, cachew, case.old, route, ALICE)
                assert not (route.name == "snapshot" and not reveals(case.old, response)), "the search is blind"
        await cachew.quiet()

    def change(self) -> None:
        """Let all repositories become others."""
        for case in self.cases:
            case.change(self.upstream, case)
        self.clock.advance(6)  # refusals are remembered for a moment

    async def search(self, *servers: Cachew) -> None:
        """Ask for everything that there was, as those who may read what there is now, and find nothing of it."""
        for case in self.cases:
            for number, route in enumerate(case.old.routes()):
                for cachew in servers[number % len(servers) :] + servers[: number % len(servers)]:
                    await self._search(case, route, cachew)

    async def _search(self, case: Case, route: Route, cachew: Cachew) -> None:
        response = await send(reactor, cachew, case.old, route, case.reader)
        what = f"{case.name}: {route.name}: {response.status} {response.body[:100]!r}"
        # What refuses may say again what was asked for.
        silent = response.status >= 400 or route.name in ("ensure-refs", "lfs batch", "lfs object")
        body = b"" if silent else response.body
        marks = [case.old.secret.encode(), *(name.encode() for name in case.old.bundles)]
        looked_at = Contents(case.name, case.old.secret, head="no head", oid="no oid")
        looked_at.bundles = case.old.bundles
        assert marks and not reveals(looked_at, type(response)(response.status, response.headers, body)), what
        assert response.status != 500, what
        if route.name in ("ls-refs", "refs v2", "snapshot"):
            assert response.status == 200, what


@pytest_twisted.ensureDeferred
async def test_nothing_of_what_a_name_stood_for_before(upstream: Upstream, start: Start) -> None:
    """Every route gives nothing of an ended instance to whoever may read the new one: not at once, not later."""
    world = World(upstream)
    cachew = await start(CONFIG + CREDENTIALS % upstream.url, clock=world.clock)
    await world.warm(cachew)
    world.change()
    await world.search(cachew)
    await cachew.quiet()
    world.clock.advance(61)
    await world.search(cachew)


@pytest_twisted.ensureDeferred
async def test_nothing_of_it_after_a_restart(upstream: Upstream, start: Start) -> None:
    """A server that was down while the repositories became others gives nothing of what it has kept."""
    world = World(upstream)
    cachew = await start(CONFIG + CREDENTIALS % upstream.url, clock=world.clock)
    await world.warm(cachew)
    await cachew.stop()
    world.change()
    await world.search(await start(CONFIG + CREDENTIALS % upstream.url, clock=world.clock))


@pytest_twisted.ensureDeferred
async def test_nothing_of_it_after_forget(upstream: Upstream, start: Start) -> None:
    """What an operator has the server forget is withdrawn: the mirror, and all that was made of it."""
    world = World(upstream)
    cachew = await start(CONFIG + CREDENTIALS % upstream.url, clock=world.clock)
    await world.warm(cachew)
    for case in world.cases:
        path = f"/admin/repositories/{HOST}/{case.name}/forget"
        response = await ask(reactor, cachew.url, "POST", path, f"Authorization: Bearer {cachew.token}")
        assert response.status == 202, response.body
    await cachew.quiet()
    for case in world.cases:
        for route in case.old.routes():
            if route.method == "HEAD" or route.name in ("listed bundle", "lfs snapshot", "bundle list"):
                assert (await send(reactor, cachew, case.old, route, ALICE)).status == 404, route.name
    world.change()
    await world.search(cachew)


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
async def test_nothing_of_it_from_any_replica(upstream: Upstream, start: Start, store: str, tmp_path: Any) -> None:
    """Three replicas and their store give nothing of an ended instance, whichever of them has noticed."""
    world = World(upstream)
    config = CONFIG + CREDENTIALS % upstream.url + tiers(store, tmp_path.name)
    servers = [await start(config, state=f"state{number}", clock=world.clock) for number in range(3)]
    await world.warm(servers[0])
    for cachew in servers[1:]:
        for case in world.cases:
            await cachew.mirrored(case.name)
            for route in case.old.routes()[:10]:
                await send(reactor, cachew, case.old, route, ALICE)
        await cachew.quiet()
    world.change()
    await world.search(*servers)


@pytest_twisted.ensureDeferred
async def test_made_private_and_published_again(upstream: Upstream, start: Start) -> None:
    """What a repository held while it was private, between two times of being public, is nobody's who came after."""
    clock = HeldClock(cast(Any, reactor))
    old = make_contents(upstream, "org/repo", "canary-5ec2e7", seed=5)
    repository = Repository(upstream.path("org/repo"))
    tips = repository.refs()
    for name in tips:
        repository.git("update-ref", name, old.first)
    cachew = await start(CONFIG + CREDENTIALS % upstream.url, clock=clock)
    snapshot = next(route for route in old.routes() if route.name == "snapshot")
    assert (await send(reactor, cachew, old, snapshot, None)).status == 200
    await cachew.quiet()
    for name, tip in tips.items():
        repository.git("update-ref", name, tip)
    upstream.gate.protect("org/repo", SERVER, ALICE, unknown=404)
    clock.advance(61)
    for route in old.routes():
        response = await send(reactor, cachew, old, route, None)
        assert response.status >= 400 and not reveals(old, response), route.name
    for route in old.routes():
        await send(reactor, cachew, old, route, ALICE)
    assert reveals(old, await send(reactor, cachew, old, snapshot, ALICE)), "the search is blind"
    await cachew.quiet()
    world = World.__new__(World)
    world.upstream, world.clock, world.cases = upstream, clock, [Case("org/repo", amended_and_published, None, old)]
    world.change()
    await world.search(cachew)


@pytest_twisted.ensureDeferred
async def test_the_first_listing_after_a_rename(upstream: Upstream, start: Start, git: Git) -> None:
    """A repository that has moved is followed at once, and its mirror goes on."""
    repository = repositories.make_repository(upstream.path("org/old"), commits=3)
    cachew = await start(CONFIG)
    git.instead_of(*cachew.instead_of)
    await git.run("clone", "-q", f"https://{HOST}/org/old", "clone")
    mirror = await cachew.mirrored("org/old")
    upstream.path("org/old").rename(upstream.path("org/new"))
    pushed = repositories.push_commit(Repository(upstream.path("org/new")), "main", "after the move")
    elsewhere = redirect(f"{upstream.url}org/new/info/refs?service=git-upload-pack", 308)
    for kind in ("caps", "refs", "pack"):
        upstream.misbehave(elsewhere, kind=kind, repository="org/old")
    listed = await git.run("ls-remote", f"https://{HOST}/org/old", "refs/heads/main")
    assert listed.out.split()[0] == pushed
    await git.run("-C", "clone", "fetch", "-q")
    assert (await git.run("-C", "clone", "rev-parse", "origin/main")).out == pushed
    await cachew.quiet()
    assert mirror.ready and mirror.refs["refs/heads/main"] == pushed and repository is not None


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
@pytest.mark.parametrize("protocol", [0, 2])
async def test_recreated_with_another_history(
    upstream: Upstream, start: Start, git: Git, object_format: str, protocol: int
) -> None:
    """A repository that was made anew, with another history or object format, is cloned at once and mirrored anew."""
    repositories.make_repository(upstream.path("org/repo"), commits=3)
    cachew = await start('[git]\nref-check-interval = "1s"\n')
    git.instead_of(*cachew.instead_of)
    await git.run("clone", "-q", f"https://{HOST}/org/repo", "before", protocol=protocol)
    old = await cachew.mirrored("org/repo")
    shutil.rmtree(upstream.path("org/repo"))
    again = repositories.make_repository(upstream.path("org/repo"), commits=2, object_format=object_format, seed=9)
    cachew.parts.mirrors.freshness.forget(old.identity)  # the interval is over
    await git.run("clone", "-q", f"https://{HOST}/org/repo", "after", protocol=protocol)
    assert (await git.run("-C", "after", "rev-parse", "HEAD")).out == again.commit()
    await cachew.quiet()
    new = await cachew.mirrored("org/repo")
    assert new.object_format == object_format and new.instance != old.instance
    await git.run("clone", "-q", f"https://{HOST}/org/repo", "later", protocol=protocol)
    await git.run("-C", "later", "fsck", "--strict")
    assert (await git.run("-C", "later", "rev-parse", "HEAD")).out == again.commit()


@pytest_twisted.ensureDeferred
async def test_a_new_instance_costs_no_clone(upstream: Upstream, start: Start) -> None:
    """What is published, what earlier versions have mirrored, and what was away for an hour is not cloned again."""
    clock = HeldClock(cast(Any, reactor))
    old = make_contents(upstream, "org/repo", "canary-c10e00", seed=3)
    upstream.gate.protect("org/repo", SERVER, ALICE, unknown=404)
    config = CONFIG + CREDENTIALS % upstream.url
    cachew = await start(config, clock=clock)
    mirror = await cachew.mirrored("org/repo")
    packs = upstream.count("pack", "org/repo")
    amended = Case("org/repo", amended_and_published, None, old)
    amended_and_published(upstream, amended)
    clock.advance(6)
    listing = next(route for route in old.routes() if route.name == "ls-refs")
    assert (await send(reactor, cachew, old, listing, None)).status == 200
    new = await cachew.mirrored("org/repo")
    assert new.instance != mirror.instance and new.missing([old.head, old.first]) == [old.head]
    assert upstream.count("pack", "org/repo") == packs
    await cachew.stop()
    record = new.directory / "cachew.json"
    fields = json.loads(record.read_text())
    record.write_text(json.dumps({**fields, "instance": fields.pop("generation")} | {"generation": None}))
    record.write_text(json.dumps({name: value for name, value in json.loads(record.read_text()).items() if value}))
    (cachew.state / "instances.jsonl").unlink()
    again = await start(config, clock=clock)
    assert again.parts.mirrors.collection.ready(mirror.identity) is None
    assert (await send(reactor, again, old, listing, None)).status == 200
    assert (await again.mirrored("org/repo")).ready and upstream.count("pack", "org/repo") == packs
    for status in (404, 404):
        upstream.misbehave(Refuse(status), repository="org/repo")
        clock.advance(61)
        assert (await send(reactor, again, old, listing, None)).status == status
        upstream.behave()
        clock.advance(6)
        assert (await send(reactor, again, old, listing, None)).status == 200
        assert (await again.mirrored("org/repo")).ready and upstream.count("pack", "org/repo") == packs


@pytest_twisted.ensureDeferred
async def test_nothing_of_the_next_one_to_whose_right_is_older(upstream: Upstream, start: Start) -> None:
    """Who could read what was there before reads nothing of what another user has made under its name since."""
    world = World(upstream)
    world.cases = [case for case in world.cases if case.name == "org/remade-for-another"]
    cachew = await start(CONFIG + CREDENTIALS % upstream.url, clock=world.clock)
    (case,) = world.cases
    await world.warm(cachew)
    new = remade_for_another(upstream, case)
    for route in new.routes():
        response = await send(reactor, cachew, new, route, ALICE)
        what = f"{route.name}: {response.status} {response.body[:100]!r}"
        assert response.status in (401, 403, 404) or route.name in ("snapshot", "snapshot head", "snapshot range"), what
        assert response.status >= 400 or not reveals(new, response), what
    for route in new.routes():
        response = await send(reactor, cachew, new, route, ALICE)
        assert response.status in (401, 403, 404), f"{route.name}: {response.status} {response.body[:100]!r}"
    assert reveals(new, await send(reactor, cachew, new, new.routes()[0], CAROL)), "the search is blind"
