"""What happens to servers: each accident by its name, done at a moment that chance chooses, and what ends it."""

import os
import random
import resource
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from twisted.internet.defer import Deferred

from scripts.torturing.world import BIG, PUBLIC, World
from tests.functional.misbehaviour import Cut, Delay, Refuse
from tests.functional.rawhttp import connect, fetch_request, request_head
from tests.functional.repositories import make_repository
from tests.functional.server import HOST

Accident = Callable[[World, random.Random], Awaitable[None]]
ACCIDENTS: dict[str, Accident] = {}
"""All of them by name."""


def accident(function: Accident) -> Accident:
    """Make a function an accident, named as it is with hyphens."""
    ACCIDENTS[function.__name__.replace("_", "-")] = function
    return function


async def _busy(world: World, rng: random.Random) -> list["Deferred[object]"]:
    """Have clients ask for things, and let a random part of that time pass.

    :return: their ends, which nobody has to like.
    """
    world.push()
    url = f"{world.server.url}/git/{HOST}/{rng.choice((PUBLIC, BIG))}"
    commands = [
        world.git.run("clone", "-q", url, f"busy{rng.random()}", check=False),
        world.git.run("ls-remote", url, check=False),
        world.git.run("clone", "-q", "--depth=1", url, f"busy{rng.random()}", check=False),
    ]
    ends: list[Deferred[object]] = [Deferred.fromCoroutine(command) for command in commands]
    for end in ends:
        end.addErrback(lambda _: None)
    await world.later(rng.random() * 0.5)
    return ends


async def _wait(world: World, ends: list["Deferred[object]"]) -> None:
    for end in ends:
        await end
    for left in (world.place / "home").glob("busy*"):
        shutil.rmtree(left, ignore_errors=True)


# the server and its children


@accident
async def kill_the_server(world: World, rng: random.Random) -> None:
    """The server alone is killed; its children go on until the next one finds them."""
    ends = await _busy(world, rng)
    await world.server.end(signal.SIGKILL)
    await world.start()
    await _wait(world, ends)


@accident
async def kill_the_server_and_its_children(world: World, rng: random.Random) -> None:
    """Everything is gone at once, as when the power fails."""
    ends = await _busy(world, rng)
    await world.server.end(signal.SIGKILL)
    world.kill_children()
    await _wait(world, ends)
    await world.start()


@accident
async def stop_the_server_politely(world: World, rng: random.Random) -> None:
    """An operator restarts it."""
    ends = await _busy(world, rng)
    await world.server.end(signal.SIGTERM)
    await _wait(world, ends)
    await world.start()


@accident
async def suspend_the_server(world: World, rng: random.Random) -> None:
    """It stands still for a while."""
    ends = await _busy(world, rng)
    world.server.signal(signal.SIGSTOP)
    await world.later(1 + rng.random())
    world.server.signal(signal.SIGCONT)
    await _wait(world, ends)


def _some_child(world: World, rng: random.Random) -> int | None:
    found = sorted(pid for pid in world.children() if pid != world.pid)
    return rng.choice(found) if found else None


@accident
async def kill_a_child(world: World, rng: random.Random) -> None:
    """One git process is killed, as the system does when memory runs out."""
    ends = await _busy(world, rng)
    if (pid := _some_child(world, rng)) is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await _wait(world, ends)


@accident
async def suspend_a_child(world: World, rng: random.Random) -> None:
    """One git process stands still for a while."""
    ends = await _busy(world, rng)
    pid = _some_child(world, rng)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        await world.later(0.5 + rng.random())
    await _wait(world, ends)


# clients


@accident
async def clients_leave(world: World, rng: random.Random) -> None:
    """Clients leave at a random byte of what they ask or are answered."""
    world.push()
    commit = world.repositories[BIG].commit()
    questions = [
        fetch_request(commit, f"{HOST}/{BIG}"),
        request_head("GET", f"/git/{HOST}/{PUBLIC}/snapshot.tar.zst"),
        request_head("GET", f"/git/{HOST}/{BIG}/info/refs?service=git-upload-pack"),
    ]
    for _ in range(10):
        question = rng.choice(questions)
        client = await connect(world.reactor, world.server.url)
        client.send(question[: rng.randrange(1, len(question) + 1)])
        await world.later(rng.random() * 0.1)
        client.transport.abortConnection()


# the disk


def _hit(path: Path, how: str, rng: random.Random) -> None:
    status = path.stat()
    if how == "flip" and status.st_size:
        at = rng.randrange(status.st_size)
        path.chmod(0o600)
        with path.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ (1 << rng.randrange(8))]))
    elif how == "truncate":
        os.truncate(path, status.st_size // 2)
    elif how == "empty":
        os.truncate(path, 0)
    else:
        path.unlink()
        if how == "directory":
            path.mkdir()
    if rng.random() < 0.5 and path.exists():
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


async def _damage(world: World, rng: random.Random, how: str) -> None:
    down = rng.random() < 0.5
    if down:
        await world.server.end(signal.SIGTERM)
    kept = {one.key for one in world.objects}
    files = [path for path in world.files() if path.name != "admin-token"]
    if files:
        path = rng.choice(files)
        print(f"  {how} {path.relative_to(world.state)}{' while it is down' if down else ''}")
        with suppress(FileNotFoundError):
            _hit(path, how, rng)
        if "cache" in path.relative_to(world.state).parts and kept:
            world.objects.clear()  # what lies in one place only can't outlive that place
    if down:
        await world.start()


def _damager(how: str) -> None:
    async def damage(world: World, rng: random.Random) -> None:
        await _damage(world, rng, how)

    damage.__name__ = f"{how}_a_file"
    accident(damage)


for _how in ("flip", "truncate", "empty", "delete", "directory"):
    _damager(_how)


@accident
async def remove_a_directory(world: World, rng: random.Random) -> None:
    """Somebody tidies up under the running server."""
    names = [name for name in ("packs", "scratch", "spools", "mirrors", "home") if (world.state / name).exists()]
    mirrors = [path for path in (world.state / "mirrors").glob("*/*") if path.is_dir()]
    victim = rng.choice([*(world.state / name for name in names), *mirrors])
    print(f"  {victim.relative_to(world.state)}")
    shutil.rmtree(victim, ignore_errors=True)


@accident
async def the_disk_is_full(world: World, rng: random.Random) -> None:
    """Others fill it, and make room again."""
    if not world.has_disk:
        print("  not done: only root can give the server a disk of its own")
        return
    ballast = world.state / "ballast"
    with ballast.open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(2**20))
            file.flush()
    try:
        await _wait(world, await _busy(world, rng))
        await world.upload()
    finally:
        ballast.unlink()


@accident
async def the_disk_is_read_only(world: World, rng: random.Random) -> None:
    """Nothing can be opened for writing for a while, as after an error of the file system."""
    if not world.has_disk:
        print("  not done: only root can give the server a disk of its own")
        return
    state = str(world.state)
    _run("mount", "--bind", state, state)
    try:
        _run("mount", "-o", "remount,ro,bind", state)
        await _wait(world, await _busy(world, rng))
        await world.upload()
    finally:
        _run("umount", "-l", state)


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


@accident
async def descriptors_run_out(world: World, rng: random.Random) -> None:
    """The server may open nothing more for a while."""
    before = resource.prlimit(world.pid, resource.RLIMIT_NOFILE)
    open_now = len(os.listdir(f"/proc/{world.pid}/fd"))
    resource.prlimit(world.pid, resource.RLIMIT_NOFILE, (open_now + rng.randrange(8), before[1]))
    try:
        await _wait(world, await _busy(world, rng))
    finally:
        resource.prlimit(world.pid, resource.RLIMIT_NOFILE, before)


@accident
async def the_clock_jumps(world: World, rng: random.Random) -> None:
    """Somebody sets it, forward or back."""
    world.clock.put(rng.choice((-86400.0, -3600.0, -60.0, 0.0, 60.0, 3600.0, 86400.0)))
    await _wait(world, await _busy(world, rng))


# the upstream


@accident
async def the_upstream_is_down(world: World, rng: random.Random) -> None:
    """Nobody listens there for a while."""
    await world.upstream.stop()
    ends = await _busy(world, rng)
    await _wait(world, ends)
    await world.upstream.start()


async def _misbehave(world: World, rng: random.Random, behaviour: Cut | Delay | Refuse) -> None:
    world.upstream.misbehave(behaviour)
    ends = await _busy(world, rng)
    await _wait(world, ends)
    world.upstream.behave()


@accident
async def the_upstream_cuts(world: World, rng: random.Random) -> None:
    """Its connections break off."""
    await _misbehave(world, rng, Cut(rng.randrange(5000)))


@accident
async def the_upstream_is_slow(world: World, rng: random.Random) -> None:
    """It takes its time."""
    await _misbehave(world, rng, Delay(rng.random() * 3))


@accident
async def the_upstream_answers_rubbish(world: World, rng: random.Random) -> None:
    """A proxy in front of it shows a page of its own."""
    status = rng.choice((200, 429, 500, 502, 503))
    await _misbehave(world, rng, Refuse(status, (("Content-Type", "text/html"),), b"<html>sorry</html>"))


@accident
async def history_is_rewritten(world: World, rng: random.Random) -> None:
    """Somebody pushes with force, and the abandoned commits are collected."""
    for repository in world.repositories.values():
        repository.git("update-ref", "refs/heads/main", repository.commit("main~1"))
        repository.git("gc", "-q", "--prune=now")


@accident
async def a_repository_is_made_anew(world: World, rng: random.Random) -> None:
    """It is deleted, and another one gets its name."""
    path = world.upstream.path(PUBLIC)
    shutil.rmtree(path)
    await _wait(world, await _busy_elsewhere(world))
    world.repositories[PUBLIC] = make_repository(path, commits=5, seed=rng.randrange(10**6))


async def _busy_elsewhere(world: World) -> list["Deferred[object]"]:
    url = f"{world.server.url}/git/{HOST}/{PUBLIC}"
    end: Deferred[object] = Deferred.fromCoroutine(world.git.run("ls-remote", url, check=False))
    end.addErrback(lambda _: None)
    return [end]


@accident
async def a_repository_is_closed_and_opened(world: World, rng: random.Random) -> None:
    """A public repository is private for a while."""
    world.upstream.gate.protect(PUBLIC, "Basic bm9ib2R5")
    await _wait(world, await _busy_elsewhere(world))
    world.upstream.gate.publish(PUBLIC)


@accident
async def pushes(world: World, rng: random.Random) -> None:
    """Nothing but daily life."""
    for _ in range(3):
        world.push()
        await _wait(world, await _busy(world, rng))
