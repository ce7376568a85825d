"""The table of accidents, and what goes on while one happens."""

import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from scripts.torturing.hosted import BIG, LONG, PRIVATE, PUBLIC, PUSHER, READER, SECURE, SLOW
from scripts.torturing.invariants import checkout_is_sound
from scripts.torturing.replica import Replica
from scripts.torturing.world import World
from tests.functional.gitclient import Result
from tests.functional.restoring import cachew_command

Checkout = tuple[str, Path]
"""The name of a repository, and where it was checked out."""
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
    """Have clients of every kind ask a server for things, and let a part of it pass.

    How they end is left to what happens meanwhile; but who was told that he has something must have it as it should be.
    """
    world.push()
    home = Path(tempfile.mkdtemp(prefix="busy", dir=world.place / "home"))
    ends = [Deferred.fromCoroutine(client) for client in _clients(world, replica, rng, home)]
    await world.later(rng.random() * 0.5)
    try:
        yield
    finally:
        found = [await end for end in ends]
        for name, there in filter(None, found):
            await checkout_is_sound(world, there, name, f"checkout of {name} that {replica.name} gave meanwhile")
        shutil.rmtree(home, ignore_errors=True)


def _clients(
    world: World, replica: Replica, rng: random.Random, home: Path
) -> list[Coroutine[Any, Any, Checkout | None]]:
    git, name = world.git, rng.choice((PUBLIC, BIG, LONG, PRIVATE, SECURE, SLOW))
    url, whole, shallow, restored = f"{replica.url}/git/{name}", home / "whole", home / "shallow", home / "restored"
    shown = {f"http.{replica.url}/.extraHeader": f"Authorization: {READER}"} if name == PRIVATE else {}
    protocol = rng.choice((0, 2))
    clone = git.run("clone", "-q", url, whole, check=False, config=shown, protocol=protocol)
    part = git.run("clone", "-q", "--depth=1", url, shallow, check=False, config=shown)
    found = [
        _checked_out(clone, (name, whole)),
        _checked_out(part, (name, shallow)),
        _checked_out(git.run("ls-remote", url, check=False, config=shown)),
        _upload(world, replica),
    ]
    if rng.random() < 0.5:
        found.append(_push(world, replica, rng, home / "pushed"))
    if rng.random() < 0.3:
        words = ("--url", replica.url, "git", "restore", f"https://{PUBLIC}", restored)
        restore = cachew_command(world.reactor, git, *words, check=False)
        found.append(_checked_out(restore, (PUBLIC, restored)))
    return found


async def _checked_out(command: Coroutine[Any, Any, Result], checkout: Checkout | None = None) -> Checkout | None:
    """Return the checkout that a command has made, None when it made none or did not succeed."""
    return checkout if (await command).code == 0 else None


async def _upload(world: World, replica: Replica) -> None:
    with suppress(Exception):  # whatever a server that is being tortured does to a connection
        await world.upload(replica)


async def _push(world: World, replica: Replica, rng: random.Random, there: Path) -> None:
    """Push a branch of one's own through the server; what it has said yes to must be at the upstream."""
    hosted, git = world.hosted[PUBLIC], world.git
    shown = {f"http.{replica.url}/.extraHeader": f"Authorization: {PUSHER}"}
    url, branch = f"{replica.url}/git/{PUBLIC}", f"refs/heads/pushed{rng.randrange(1000)}"
    cloned = await git.run("clone", "-q", str(hosted.repository.path), there, check=False)
    if cloned.code:
        return
    await git.run("commit", "-q", "--allow-empty", "-m", f"pushed {rng.random()}", cwd=there)
    commit = (await git.run("rev-parse", "HEAD", cwd=there)).out
    world.pushed.pop(branch, None)  # whether this push arrives is unknown until it is acknowledged
    pushed = await git.run("push", "-q", "--force", url, f"HEAD:{branch}", cwd=there, config=shown, check=False)
    if pushed.code == 0 and hosted is world.hosted[PUBLIC]:
        world.pushed[branch] = commit
