"""A name is not a repository for ever: nothing that was kept before it became another one is sent after that."""

import json
import random
import shutil
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.misbehaviour import Refuse, redirect
from tests.functional.rawhttp import ask, connect, request_head
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
from tests.functional.restoring import Order, restore_each
from tests.functional.server import HOST, Cachew, HeldClock
from tests.functional.test_readers import reveals
from tests.functional.upstream import Upstream
from tests.http.wire import Response

CONFIG = '[git]\nref-check-interval = "0s"\nsnapshot-interval = "0s"\nmirror-snapshot-interval = "0s"\n'


AT_A_TIME = 3
LARGE = 12_000_000
"""Bytes, more than the system holds between a server and a client that does not read."""
VARIANTS = ("snapshot without blobs", "ls-refs of a clone")
COPIED = ("ls-refs", "fetch v2", "fetch v0", "snapshot", "bundle", "listed bundle", "lfs batch")
"""What further replicas are asked for, so that they have it too."""


@dataclass
class Case:
    """A repository that becomes another one.

    :param name: its name.
    :param change: lets it become another one at the upstream, and returns what is there then.
    :param reader: whose right to read dates from after that.
    :param closed: whether he has none.
    :param was: what it was before it was private: whether it was public, and with its secret or without.
    """

    name: str
    change: Callable[[Upstream, "Case"], Contents | None]
    reader: str | None = None
    closed: bool = False
    was: str = ""
    old: Contents = field(default_factory=lambda: Contents("", ""))
    new: Contents | None = None
    grants: dict[str, str] = field(default_factory=dict)


def remove(upstream: Upstream, case: Case) -> None:
    """Delete the repository."""
    shutil.rmtree(upstream.path(case.name))


def remake(upstream: Upstream, case: Case) -> Contents:
    """Make another repository under its name."""
    return make_contents(upstream, case.name, f"open-{case.old.secret[-6:]}", seed=1000 + len(case.name))


def removed(upstream: Upstream, case: Case) -> None:
    """Delete the repository, as a host does: nobody is told whether there was one."""
    remove(upstream, case)
    upstream.gate.protect(case.name, unknown=404)


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


def made_private(upstream: Upstream, case: Case) -> None:
    """Make it private."""
    upstream.gate.protect(case.name, SERVER, ALICE, unknown=404)


def transferred(upstream: Upstream, case: Case) -> Contents:
    """Give it to another owner, and redirect its name to another one's public repository."""
    upstream.path(case.name).rename(upstream.path(f"{case.name}-given"))
    upstream.gate.protect(f"{case.name}-given", SERVER, unknown=404)
    other = make_contents(upstream, f"{case.name}-other", "open-0f7e12", seed=77)
    address = f"{upstream.url}{other.name}/info/refs?service=git-upload-pack"
    for kind in ("caps", "refs", "pack"):
        upstream.misbehave(redirect(address), kind=kind, repository=case.name)
    return other


def cases() -> list[Case]:
    """Return a repository for each way to become another one."""
    return [
        Case("org/remade-public", remade_public),
        Case("org/remade-for-another", remade_for_another, CAROL),
        Case("org/renamed", renamed),
        Case("org/amended-and-published", amended_and_published),
        Case("org/private-and-published-again", amended_and_published, was="clean"),
        Case("org/made-private-again", made_private, closed=True, was="public"),
        Case("org/transferred", transferred),
    ]


class World:
    """An upstream with private repositories that will be others, and servers before it, whose time is held.

    :param thorough: whether variants are asked for, too, that take long to make.
    """

    def __init__(self, upstream: Upstream, git: Git, *, thorough: bool = False) -> None:
        self.upstream, self.git, self.thorough = upstream, git, thorough
        self.clock = HeldClock(cast(Any, reactor))
        self.cases = cases()
        for number, case in enumerate(self.cases):
            case.old = make_contents(upstream, case.name, f"canary-{number:06x}", seed=number + 1)
            if not case.was:
                upstream.gate.protect(case.name, SERVER, ALICE, unknown=404)

    def _routes(self, case: Case) -> list[Route]:
        return [route for route in case.old.routes() if self.thorough or route.name not in VARIANTS]

    async def each(self, work: Callable[[Case], Coroutine[Any, Any, None]]) -> None:
        """Do something with all repositories at once."""
        places = DeferredSemaphore(AT_A_TIME)

        async def in_turn(case: Case) -> None:
            await places.acquire()
            try:
                await work(case)
            finally:
                places.release()

        await gatherResults([Deferred.fromCoroutine(in_turn(case)) for case in self.cases], consumeErrors=True)

    async def warm(self, *servers: Cachew) -> None:
        """Have servers keep all that there can be of the repositories, and read it."""
        await self.each(lambda case: self._be_public(case, servers))
        await self.each(lambda case: self._warm(case, servers))
        for cachew in servers:
            await cachew.quiet()

    async def _be_public(self, case: Case, servers: Sequence[Cachew]) -> None:
        """Have servers see a repository that is public before it has its secret, and closed to whoever has no right."""
        if case.was != "clean":
            return
        repository = Repository(self.upstream.path(case.name))
        tips = repository.refs()
        for name in tips:
            repository.git("update-ref", name, case.old.first)
        snapshot = next(route for route in case.old.routes() if route.name == "snapshot")
        for cachew in servers:
            assert (await send(reactor, cachew, case.old, snapshot, None)).status == 200
            await cachew.quiet()
        for name, tip in tips.items():
            repository.git("update-ref", name, tip)
        made_private(self.upstream, case)
        self.clock.advance(61)
        for route in case.old.routes():
            for cachew in servers:
                response = await send(reactor, cachew, case.old, route, None)
                assert response.status >= 400 and not reveals(case.old, response), route.name
        listing = next(route for route in case.old.routes() if route.name == "ls-refs")
        for cachew in servers:
            assert (await send(reactor, cachew, case.old, listing, ALICE)).status == 200
            await cachew.quiet()

    async def _warm(self, case: Case, servers: Sequence[Cachew]) -> None:
        await warm_everything(servers[0], case.old)
        for cachew in servers:
            await cachew.mirrored(case.name)
            for route in self._routes(case):
                if cachew is not servers[0] and route.name not in COPIED:
                    continue
                response = await send(reactor, cachew, case.old, route, ALICE)
                if route.name == "snapshot":
                    assert reveals(case.old, response), "the search is blind"
                elif route.name == "lfs batch":
                    case.grants = json.loads(response.body)["objects"][0]["actions"]["download"]["header"]
            assert reveals(case.old, await self._by_old_grant(case, cachew, ALICE)), "the search is blind"

    def change(self, seconds: float = 61) -> None:
        """Let all repositories become others.

        :param seconds: that pass since; refusals are remembered for five, verdicts for sixty.
        """
        for case in self.cases:
            case.new = case.change(self.upstream, case)
        self.clock.advance(seconds)

    async def search(self, *servers: Cachew, restore: bool = True) -> None:
        """Ask for everything that there was, as those who may read what there is now, and find nothing of it."""
        await self.each(lambda case: self._search_everything(case, servers))
        if restore:
            await self._restore(servers)

    async def _search_everything(self, case: Case, servers: Sequence[Cachew]) -> None:
        for number, route in enumerate(self._routes(case)):
            for cachew in (*servers[number % len(servers) :], *servers[: number % len(servers)]):
                await self._search(case, route, cachew)
        for cachew in servers:
            for authorization in {case.reader, None, ALICE, CAROL}:
                response = await self._by_old_grant(case, cachew, authorization)
                kept = case.closed and authorization == ALICE
                assert response.status in (401, 403, 404) or kept, f"{case.name}: an old grant: {response.status}"

    async def _by_old_grant(self, case: Case, cachew: Cachew, authorization: str | None) -> Response:
        """Ask for the LFS object by the leave that was given to alice."""
        route = Route("granted", "GET", f"info/lfs/cachew/{case.old.oid}")
        lines = [f"{name}: {value}" for name, value in case.grants.items()]
        return await send(reactor, cachew, case.old, route, authorization, *lines)

    async def _search(self, case: Case, route: Route, cachew: Cachew) -> None:
        response = await send(reactor, cachew, case.old, route, case.reader)
        what = f"{case.name}: {route.name}: {response.status} {response.body[:100]!r}"
        # What refuses may say again what was asked for.
        silent = response.status >= 400 or route.name in ("ensure-refs", "lfs batch", "lfs object")
        body = b"" if silent else response.body
        assert not reveals(_unasked(case.old), replace(response, body=body)), what
        assert response.status != 500, what
        if route.name == "ensure-refs" and response.status == 200:
            assert json.loads(response.body)["missing_commits"] == [case.old.head], what
        if case.closed and route.name != "snapshot head":
            assert response.status in (401, 403, 404), what
        elif route.name in ("ls-refs", "refs v2", "snapshot"):
            assert response.status == 200, what

    async def _restore(self, servers: Sequence[Cachew]) -> None:
        """Restore all of them with the client command, and find nothing of what they were in any file."""
        targets = {case.name: self.git.home / case.name for case in self.cases}
        orders = [
            Order(servers[number % len(servers)].url, case.name, targets[case.name], case.reader)
            for number, case in enumerate(self.cases)
        ]
        codes = await restore_each(reactor, self.git, orders)
        for case, code in zip(self.cases, codes, strict=True):
            files = [path for path in targets[case.name].rglob("*") if path.is_file()]
            found = b"\0".join(path.read_bytes() for path in files)
            assert code == (1 if case.closed else 0), f"{case.name}: restored with {code}"
            assert not reveals(_unasked(case.old), Response(200, {}, found)), f"{case.name} was restored as it was"
            assert case.new is None or case.new.secret.encode() in found, f"{case.name}: the search is blind"


def snapshot_of(case: Case) -> Route:
    """Return the request for what can be had of a repository at once."""
    return next(route for route in case.old.routes() if route.name == "snapshot")


def _unasked(contents: Contents) -> Contents:
    """Return what gives a repository away and is no part of any question about it."""
    return replace(contents, head="no head", oid="no oid")


@pytest_twisted.ensureDeferred
async def test_nothing_of_what_a_name_stood_for_before(upstream: Upstream, start: Start, git: Git) -> None:
    """Every route gives nothing of an ended instance to whoever may read the new one: not at once, not later."""
    world = World(upstream, git, thorough=True)
    cachew = await start(CONFIG + CREDENTIALS % upstream.url, clock=world.clock)
    await world.warm(cachew)
    every = world.cases
    # What was public counts as such for as long as verdicts do.
    world.cases = [case for case in every if not case.closed]
    world.change(6)
    await world.search(cachew)
    await cachew.quiet()
    world.cases = every
    world.clock.advance(61)
    made_private(upstream, next(case for case in every if case.closed))
    await world.search(cachew, restore=False)


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
async def test_nothing_of_it_after_a_restart(upstream: Upstream, start: Start, git: Git) -> None:
    """A server that was down while the repositories became others gives nothing of what it has kept."""
    world = World(upstream, git)
    cachew = await start(CONFIG + CREDENTIALS % upstream.url, clock=world.clock)
    await world.warm(cachew)
    await cachew.stop()
    world.change()
    await world.search(await start(CONFIG + CREDENTIALS % upstream.url, clock=world.clock))


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
async def test_nothing_of_it_after_forget(upstream: Upstream, start: Start, git: Git) -> None:
    """What an operator has the server forget is withdrawn: the mirror, and all that was made of it."""
    world = World(upstream, git)
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
async def test_nothing_of_it_from_any_replica(
    upstream: Upstream, start: Start, git: Git, store: str, tmp_path: Path
) -> None:
    """Two replicas and their store give nothing of an ended instance, whichever of them has noticed.

    A third one would be told as the second; what restoring clients make of it the other tests say.
    """
    world = World(upstream, git)
    config = CONFIG + CREDENTIALS % upstream.url + tiers(store, tmp_path.name)
    servers = [await start(config, state=f"state{number}", clock=world.clock) for number in range(2)]
    await world.warm(*servers)
    world.change()
    await world.search(*servers, restore=False)


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
async def test_no_more_of_it_after_the_ref_check_that_shows_it(
    upstream: Upstream, start: Start, store: str, tmp_path: Path
) -> None:
    """What was public is sent as it was until one ref check, however long the interval; then by no replica or tier."""
    clock = HeldClock(cast(Any, reactor))
    ways = {"remade": remade_public, "removed": removed, "closed": made_private, "moved": transferred}
    found = [Case(f"org/{name}", change, closed=name in ("removed", "closed")) for name, change in ways.items()]
    config = CONFIG.replace('"0s"', '"10s"', 1) + CREDENTIALS % upstream.url
    servers = [
        await start(config + tiers(store, tmp_path.name, near=near), state=near, clock=clock)
        for near in ("memory", "disk")
    ]
    for number, case in enumerate(found):
        case.old = make_contents(upstream, case.name, f"canary-{number:06x}", seed=number + 1)
        await warm_everything(servers[0], case.old)
        for cachew in servers:
            for route in case.old.routes():
                if route.name in COPIED:
                    await send(reactor, cachew, case.old, route, None)
            await cachew.quiet()
    for case in found:
        case.change(upstream, case)
        checks = upstream.count("caps", case.name)
        response = await send(reactor, servers[0], case.old, snapshot_of(case), None)
        assert reveals(case.old, response), "it can't be known yet"
        assert upstream.count("caps", case.name) == checks
    clock.advance(11)  # verdicts count for longer
    for case in found:
        await send(reactor, servers[0], case.old, snapshot_of(case), None)
        await servers[0].quiet()
    clock.advance(2)  # after which a replica looks again at what the others know
    for case in found:
        for route in case.old.routes():
            for cachew in servers[::-1]:
                response = await send(reactor, cachew, case.old, route, None)
                what = f"{case.name}: {route.name}: {response.status} {response.body[:100]!r}"
                silent = response.status >= 400 or route.name in ("ensure-refs", "lfs batch", "lfs object")
                body = b"" if silent else response.body
                assert not reveals(_unasked(case.old), replace(response, body=body)), what
                assert response.status in (401, 403, 404) or not case.closed, what


@pytest_twisted.ensureDeferred
async def test_bodies_that_are_under_way_when_it_ends(upstream: Upstream, start: Start) -> None:
    """Who had begun to read gets the rest of it, and nobody who comes later gets any of it."""
    clock = HeldClock(cast(Any, reactor))
    case = Case("org/repo", remade_public, old=make_contents(upstream, "org/repo", "canary-b0d1e5", seed=8))
    repository, old = Repository(upstream.path("org/repo")), case.old
    old.head = repositories.push_commit(repository, "main", name="large", data=random.Random(8).randbytes(LARGE))
    made_private(upstream, case)
    cachew = await start(CONFIG + CREDENTIALS % upstream.url, clock=clock)
    await warm_everything(cachew, old)
    reading = []
    for route in old.routes():
        if route.name in ("fetch v2", "snapshot", "listed bundle"):
            whole = await send(reactor, cachew, old, route, ALICE)
            assert whole.status == 200 and len(whole.body) > LARGE
            client = await connect(reactor, cachew.url)
            lines = (*route.headers, f"Authorization: {ALICE}", f"Content-Length: {len(route.body)}")
            path = f"/git/{HOST}/{old.name}/{route.operation}"
            client.send(request_head(route.method, path, *lines), route.body)
            head = await client.head()
            client.transport.pauseProducing()
            reading.append((client, head, whole.body))
    assert len(reading) == 3
    remade_public(upstream, case)
    clock.advance(6)
    for route in old.routes():
        response = await send(reactor, cachew, old, route, None)
        assert len(response.body) < LARGE and response.status != 500, route.name
        assert response.status >= 400 or old.secret.encode() not in response.body, route.name
    for client, head, body in reading:
        assert len(client.received) < LARGE and not client.ended
        client.transport.resumeProducing()
        assert await client.body_of(head) == body


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
    assert mirror.ready and mirror.refs.by_name["refs/heads/main"] == pushed and repository is not None


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
@pytest.mark.parametrize("protocol", [0, 2])
async def test_recreated_with_another_history(
    upstream: Upstream, start: Start, git: Git, object_format: str, protocol: int
) -> None:
    """A repository that was made anew, with another history or object format, is cloned at once and mirrored anew."""
    repositories.make_repository(upstream.path("org/repo"), commits=3)
    cachew = await start(CONFIG)
    git.instead_of(*cachew.instead_of)
    await git.run("clone", "-q", f"https://{HOST}/org/repo", "before", protocol=protocol)
    old = await cachew.mirrored("org/repo")
    await git.run("ls-remote", f"https://{HOST}/org/repo", protocol=protocol)
    shutil.rmtree(upstream.path("org/repo"))
    again = repositories.make_repository(upstream.path("org/repo"), commits=2, object_format=object_format, seed=9)
    await git.run("clone", "-q", f"https://{HOST}/org/repo", "after", protocol=protocol)
    assert (await git.run("-C", "after", "rev-parse", "HEAD")).out == again.commit()
    await cachew.quiet()
    new = await cachew.mirrored("org/repo")
    assert new.refs.object_format == object_format and new.instance != old.instance
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
    amended = Case("org/repo", amended_and_published, old=old)
    amended_and_published(upstream, amended)
    clock.advance(6)
    listing = next(route for route in old.routes() if route.name == "ls-refs")
    assert (await send(reactor, cachew, old, listing, None)).status == 200
    new = await cachew.mirrored("org/repo")
    assert new.instance != mirror.instance and new.objects.missing([old.head, old.first]) == [old.head]
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
async def test_nothing_of_the_next_one_to_whose_right_is_older(upstream: Upstream, start: Start, git: Git) -> None:
    """Who could read what was there before reads nothing of what another user has made under its name since."""
    world = World(upstream, git)
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
