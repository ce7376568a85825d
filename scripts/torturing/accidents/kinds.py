"""The table of accidents, and what goes on while one happens."""

import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

from twisted.internet.defer import Deferred

from scripts.torturing.hosted import BIG, PRIVATE, PUBLIC, PUSHER, READER, SECURE, SLOW
from scripts.torturing.replica import Replica
from scripts.torturing.world import World
from tests.functional.restoring import cachew_command

Accident = Callable[[World, random.Random], Awaitable[None]]
ACCIDENTS: dict[str, Accident] = {}
"""All of them by name."""


def accident(function: Accident) -> Accident:
    """Make a function an accident, named as it is with hyphens."""
    ACCIDENTS[function.__name__.replace("_", "-")] = function
    return function


def amid_requests(function: Callable[[World, random.Random, Replica], Awaitable[None]]) -> Accident:
    """Make a function an accident that happens to one of the servers while clients ask it for things."""

    @wraps(function)
    async def happen(world: World, rng: random.Random) -> None:
        replica = world.some(rng)
        async with busy(world, replica, rng):
            await function(world, rng, replica)

    return accident(happen)


async def pass_requests(world: World, rng: random.Random, replica: Replica | None = None) -> None:
    """Have clients ask a server for things, and wait for their ends.

    :param replica: which one; any when it is None.
    """
    async with busy(world, replica or world.some(rng), rng):
        pass


def skipped(why: str) -> None:
    """Say that an accident can't be had on this machine."""
    print(f"  not done: {why}", flush=True)


@asynccontextmanager
async def busy(world: World, replica: Replica, rng: random.Random) -> AsyncIterator[None]:
    """Have clients of every kind ask a server for things, whose ends nobody has to like, and let a part of it pass."""
    world.push()
    ends: list[Deferred[object]] = [Deferred.fromCoroutine(command) for command in _commands(world, replica, rng)]
    for end in ends:
        end.addErrback(lambda _: None)
    await world.later(rng.random() * 0.5)
    try:
        yield
    finally:
        for end in ends:
            await end
        for left in (world.place / "home").glob("busy*"):
            shutil.rmtree(left, ignore_errors=True)


def _commands(world: World, replica: Replica, rng: random.Random) -> list[Coroutine[Any, Any, object]]:
    git, name = world.git, rng.choice((PUBLIC, BIG, PRIVATE, SECURE, SLOW))
    url, there = f"{replica.url}/git/{name}", f"busy{rng.random()}"
    shown = {f"http.{replica.url}/.extraHeader": f"Authorization: {READER}"} if name == PRIVATE else {}
    found: list[Coroutine[Any, Any, object]] = [
        git.run("clone", "-q", url, there, check=False, config=shown, protocol=rng.choice((0, 2))),
        git.run("clone", "-q", "--depth=1", url, f"{there}s", check=False, config=shown),
        git.run("ls-remote", url, check=False, config=shown),
        world.upload(replica),
    ]
    if rng.random() < 0.5:
        found.append(_push(world, replica, rng))
    if rng.random() < 0.3:
        words = ("--url", replica.url, "git", "restore", f"https://{PUBLIC}", f"{there}r")
        found.append(cachew_command(world.reactor, git, *words, check=False))
    return found


async def _push(world: World, replica: Replica, rng: random.Random) -> None:
    """Push a branch of one's own through the server; what it has said yes to must be at the upstream."""
    hosted, git = world.hosted[PUBLIC], world.git
    shown = {f"http.{replica.url}/.extraHeader": f"Authorization: {PUSHER}"}
    there, branch = f"busy{rng.random()}p", f"refs/heads/pushed{rng.randrange(1000)}"
    cloned = await git.run("clone", "-q", str(hosted.repository.path), there, check=False)
    if cloned.code:
        return
    at = world.place / "home" / there
    await git.run("commit", "-q", "--allow-empty", "-m", f"pushed {rng.random()}", cwd=at)
    commit = (await git.run("rev-parse", "HEAD", cwd=at)).out
    world.pushed.pop(branch, None)  # whether this push arrives is unknown until it is acknowledged
    pushed = await git.run(
        "push", "-q", "--force", f"{replica.url}/git/{PUBLIC}", f"HEAD:{branch}", cwd=at, config=shown, check=False
    )
    if pushed.code == 0 and hosted is world.hosted[PUBLIC]:
        world.pushed[branch] = commit
