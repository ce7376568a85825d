"""What happens to the server's processes, to what they may open, and to their time of day."""

import os
import random
import resource
import signal
from contextlib import suppress

from scripts.torturing.accidents.kinds import accident, amid_requests, busy, pass_requests
from scripts.torturing.replica import Replica
from scripts.torturing.world import World


@amid_requests
async def kill_the_server(world: World, rng: random.Random, replica: Replica) -> None:
    """The server alone is killed; its children go on until the next one finds them."""
    await replica.server.end(signal.SIGKILL)
    await replica.start()


@accident
async def kill_the_server_and_its_children(world: World, rng: random.Random) -> None:
    """Everything is gone at once, as when the power fails."""
    replica = world.some(rng)
    async with busy(world, replica, rng):
        await replica.server.end(signal.SIGKILL)
        replica.kill_children()
    await replica.start()


@accident
async def kill_every_server(world: World, rng: random.Random) -> None:
    """The power fails for all of them."""
    async with busy(world, world.some(rng), rng):
        for replica in world.replicas:
            await replica.server.kill()
            replica.kill_children()
    for replica in world.replicas:
        await replica.start()


@accident
async def stop_the_server_politely(world: World, rng: random.Random) -> None:
    """An operator restarts it."""
    replica = world.some(rng)
    async with busy(world, replica, rng):
        await replica.server.end(signal.SIGTERM)
    await replica.start()


@amid_requests
async def suspend_the_server(world: World, rng: random.Random, replica: Replica) -> None:
    """It stands still for a while, now and then for longer than its leases last."""
    replica.server.signal(signal.SIGSTOP)
    await world.later(rng.choice((1, 1, 2, 7)) + rng.random())
    replica.server.signal(signal.SIGCONT)


def _some_child(replica: Replica, rng: random.Random) -> int | None:
    found = replica.children()
    return rng.choice(found) if found else None


def _signal(pid: int | None, number: signal.Signals) -> None:
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@amid_requests
async def kill_a_child(world: World, rng: random.Random, replica: Replica) -> None:
    """One git process is killed, as the system does when memory runs out."""
    _signal(_some_child(replica, rng), signal.SIGKILL)


@amid_requests
async def suspend_a_child(world: World, rng: random.Random, replica: Replica) -> None:
    """One git process stands still for a while."""
    pid = _some_child(replica, rng)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        _signal(pid, number)
        await world.later(0.5 + rng.random())


@accident
async def descriptors_run_out(world: World, rng: random.Random) -> None:
    """The server may open nothing more for a while."""
    replica = world.some(rng)
    before = resource.prlimit(replica.pid, resource.RLIMIT_NOFILE)
    open_now = len(os.listdir(f"/proc/{replica.pid}/fd"))
    resource.prlimit(replica.pid, resource.RLIMIT_NOFILE, (open_now + rng.randrange(8), before[1]))
    try:
        await pass_requests(world, rng, replica)
    finally:
        resource.prlimit(replica.pid, resource.RLIMIT_NOFILE, before)


@accident
async def the_clock_jumps(world: World, rng: random.Random) -> None:
    """Somebody sets it, forward or back; stores refuse what is signed by a clock that is too wrong, so it is mended."""
    replica = world.some(rng)
    far = [] if world.proxy is not None else [-86400.0, -3600.0, 3600.0, 86400.0]
    replica.clock.put(rng.choice((-600.0, -60.0, 0.0, 60.0, 600.0, *far)))
    await pass_requests(world, rng, replica)


@accident
async def pushes(world: World, rng: random.Random) -> None:
    """Nothing but daily life."""
    for _ in range(3):
        await pass_requests(world, rng)
