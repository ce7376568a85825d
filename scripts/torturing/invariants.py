"""What must hold after every accident, however it went."""

import re
import shutil
import sys
from pathlib import Path

from scripts.torturing.world import BIG, OBJECTS, PRIVATE, PUBLIC, READER, World
from tests.functional.remains import temporary_files
from tests.functional.restoring import cachew_command
from tests.functional.server import HOST

HEALING = 30.0
"""Seconds within which damage must be gone, unattended."""
_TROUBLE = re.compile(r"Traceback|\bcritical\b|Unhandled error", re.IGNORECASE)
_PAUSE = 0.5
_DESCRIPTORS = 60
_MEMORY = 300 * 1024 * 1024


class Broken(AssertionError):
    """Something that must hold does not."""


async def everything_holds(world: World) -> None:
    """Check all of it, and give damage the documented time to heal.

    :raise Broken: when anything is wrong.
    """
    await world.restart()
    until = world.reactor.seconds() + HEALING
    while True:
        try:
            await _clients_are_served(world)
            break
        except Broken:
            if world.reactor.seconds() > until:
                raise
            await world.later(_PAUSE)
    await _restores_are_sound(world)
    await _objects_are_there(world)
    _log_is_quiet(world)
    await _nothing_is_left(world)


async def _clients_are_served(world: World) -> None:
    for name in (PUBLIC, BIG, PRIVATE):
        for protocol in (0, 2):
            await _clone(world, name, protocol)


async def _clone(world: World, name: str, protocol: int) -> None:
    world.clones += 1
    there = world.place / "home" / f"clone{world.clones}"
    config = {f"http.{world.server.url}/.extraHeader": f"Authorization: {READER}"} if name == PRIVATE else {}
    url = f"{world.server.url}/git/{HOST}/{name}"
    try:
        done = await world.git.run("clone", "-q", url, there, protocol=protocol, config=config, check=False)
        if done.code:
            raise Broken(f"clone of {name} with v{protocol} failed: {done.err[-500:]}")
        checked = await world.git.run("fsck", "--strict", cwd=there, check=False)
        if checked.code:
            raise Broken(f"a clone of {name} with v{protocol} is damaged: {checked.err[-500:]}")
        head = (await world.git.run("rev-parse", "HEAD", cwd=there)).out
        if head != world.repositories[name].commit():
            raise Broken(f"a clone of {name} with v{protocol} is at {head}, not where the upstream is")
    finally:
        shutil.rmtree(there, ignore_errors=True)


async def _restores_are_sound(world: World) -> None:
    for name in (PUBLIC, BIG):
        world.clones += 1
        there = world.place / "home" / f"restored{world.clones}"
        words = ("--url", world.server.url, "git", "restore", f"https://{HOST}/{name}", str(there))
        done = await cachew_command(world.reactor, world.git, *words, check=False)
        if done.code:
            raise Broken(f"restore of {name} failed: {done.err[-500:]}")
        checked = await world.git.run("fsck", "--strict", cwd=there, check=False)
        if checked.code:
            raise Broken(f"what was restored of {name} is damaged: {checked.err[-500:]}")
        shutil.rmtree(there)


async def _objects_are_there(world: World) -> None:
    await world.upload()
    for one in world.objects[-20:]:
        answer = await world.get(f"{OBJECTS}/{one.key}", world.token)
        if answer.status != 200 or answer.body != one.body:
            raise Broken(f"object {one.key} that was accepted is gone or changed: {answer.status}")


def _log_is_quiet(world: World) -> None:
    new, world.said = world.server.output[world.said :], len(world.server.output)
    if found := _TROUBLE.search(new):
        raise Broken(f"the log says:\n{new[max(0, found.start() - 1500) : found.end() + 3000]}")


async def _nothing_is_left(world: World) -> None:
    left: list[str] = []
    for _ in range(40):
        left = [f"process {pid}" for pid in world.children() if pid != world.pid] + temporary_files(world.state)
        if not left:
            break
        await world.later(_PAUSE)
    else:
        raise Broken(f"left behind: {left}")
    open_now, resident = _taken(world)
    if open_now > _DESCRIPTORS:
        raise Broken(f"{open_now} descriptors are open with nothing to do")
    if resident > _MEMORY:
        raise Broken(f"{resident // 2**20} MB are resident with nothing to do")
    print(f"  {open_now} descriptors, {resident // 2**20} MB", file=sys.stderr)


def _taken(world: World) -> tuple[int, int]:
    """Return how many descriptors the server has open, and how many bytes it has resident (proc(5))."""
    about = Path(f"/proc/{world.pid}")
    return len(list((about / "fd").iterdir())), int((about / "statm").read_text().split()[1]) * 4096
