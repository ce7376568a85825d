"""What happens to upstreams and to what they have."""

import random
import shutil

from scripts.torturing.accidents.kinds import accident, busy, pass_requests
from scripts.torturing.hosted import PUBLIC, SLOW_HOST, Hosted
from scripts.torturing.world import LAG, World
from tests.functional.misbehaviour import Cut, Delay, Hang, Misbehaviour, Refuse, redirect
from tests.functional.repositories import make_repository
from tests.functional.upstream import Upstream

_PAGE = (("Content-Type", "text/html"),)


@accident
async def the_upstream_is_down(world: World, rng: random.Random) -> None:
    """Nobody listens there for a while."""
    upstream = _some(world, rng)
    await upstream.stop()
    await pass_requests(world, rng)
    await upstream.start()


def _some(world: World, rng: random.Random) -> Upstream:
    return world.upstreams[rng.choice(sorted(world.upstreams))]


async def _misbehave(world: World, rng: random.Random, behaviour: Misbehaviour, kind: str | None = None) -> None:
    upstream = _some(world, rng)
    upstream.misbehave(behaviour, kind=kind)
    await pass_requests(world, rng)
    upstream.behave()
    world.upstreams[SLOW_HOST].behave()
    world.upstreams[SLOW_HOST].misbehave(Delay(LAG))


@accident
async def the_upstream_cuts(world: World, rng: random.Random) -> None:
    """Its connections break off."""
    await _misbehave(world, rng, Cut(int(2 ** (rng.random() * 20))))


@accident
async def the_upstream_is_slow(world: World, rng: random.Random) -> None:
    """It takes its time."""
    await _misbehave(world, rng, Delay(rng.random() * 3))


@accident
async def the_upstream_hangs(world: World, rng: random.Random) -> None:
    """It takes requests and answers none."""
    upstream = _some(world, rng)
    await _misbehave(world, rng, Hang())
    await upstream.stop()
    await upstream.start()


@accident
async def the_upstream_answers_garbage(world: World, rng: random.Random) -> None:
    """A proxy in front of it shows a page of its own, or nothing that anybody could read."""
    status = rng.choice((200, 403, 429, 500, 502, 503))
    body = rng.choice((b"<html>sorry</html>", rng.randbytes(5000), b"0000", b""))
    await _misbehave(world, rng, Refuse(status, _PAGE, body))


def _some_repository(world: World, rng: random.Random) -> tuple[str, Hosted]:
    name = rng.choice(sorted(world.hosted))
    return name, world.hosted[name]


@accident
async def history_is_rewritten(world: World, rng: random.Random) -> None:
    """Somebody pushes with force, and the abandoned commits are collected."""
    _, hosted = _some_repository(world, rng)
    async with busy(world, world.some(rng), rng):
        hosted.repository.git("update-ref", "refs/heads/main", hosted.repository.commit("main~1"))
        hosted.repository.git("gc", "-q", "--prune=now")
        hosted.note()


@accident
async def the_upstream_collects_garbage(world: World, rng: random.Random) -> None:
    """What it has is packed anew while others fetch it."""
    async with busy(world, world.some(rng), rng):
        for hosted in world.hosted.values():
            hosted.repository.git("gc", "-q", "--prune=now")


@accident
async def a_repository_is_renamed(world: World, rng: random.Random) -> None:
    """It lives elsewhere for a while, and its host says where."""
    name, hosted = _some_repository(world, rng)
    old, new = hosted.upstream.path(hosted.path), hosted.upstream.path("org/moved")
    old.rename(new)
    suffix = ".git/info/refs?service=git-upload-pack"
    hosted.upstream.misbehave(redirect(f"{hosted.upstream.url}org/moved{suffix}"), repository=hosted.path)
    await world.ask(world.some(rng), name)
    new.rename(old)
    hosted.upstream.behave()
    world.upstreams[SLOW_HOST].behave()
    world.upstreams[SLOW_HOST].misbehave(Delay(LAG))


@accident
async def a_repository_is_made_anew(world: World, rng: random.Random) -> None:
    """It is deleted, and another one gets its name."""
    hosted = world.hosted[PUBLIC]
    path = hosted.upstream.path(hosted.path)
    shutil.rmtree(path)
    if rng.random() < 0.7:
        await world.ask(world.some(rng), PUBLIC)
    anew = make_repository(path, commits=5, seed=rng.randrange(10**6))
    world.hosted[PUBLIC] = Hosted(hosted.upstream, hosted.path, anew)
    world.hosted[PUBLIC].note()
    world.pushed.clear()


@accident
async def a_repository_is_closed_and_opened(world: World, rng: random.Random) -> None:
    """A public repository is private for a while."""
    hosted = world.hosted[PUBLIC]
    hosted.upstream.gate.protect(hosted.path, "Basic bm9ib2R5")
    await world.ask(world.some(rng), PUBLIC)
    hosted.upstream.gate.publish(hosted.path)
