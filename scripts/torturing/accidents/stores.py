"""What happens to the object store that replicas share."""

import random
from collections.abc import Callable

from scripts.torturing.accidents.kinds import accident, busy, skipped
from scripts.torturing.world import World
from tests.fakes.faultyproxy import FaultyProxy

_UNAVAILABLE = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def _faulty(world: World, rng: random.Random, fault: Callable[[FaultyProxy], object], times: int = 1) -> None:
    if world.proxy is None:
        skipped("these servers share no store")
        return
    replica = world.some(rng)
    for _ in range(times):
        fault(world.proxy)
        async with busy(world, replica, rng):
            pass
        await world.upload(replica)
    world.proxy.behave()


@accident
async def the_store_is_down(world: World, rng: random.Random) -> None:
    """Nobody is there."""

    def refuse(proxy: FaultyProxy) -> None:
        proxy.refuse = True
        proxy.drop()

    await _faulty(world, rng, refuse)


@accident
async def the_store_is_slow(world: World, rng: random.Random) -> None:
    """Each answer takes longer, sometimes than anybody waits."""
    await _faulty(world, rng, lambda proxy: setattr(proxy, "delay", rng.choice((0.2, 1.0, 4.0))))


@accident
async def the_store_answers_503(world: World, rng: random.Random) -> None:
    """It says that there are too many requests."""
    await _faulty(world, rng, lambda proxy: setattr(proxy, "answer", _UNAVAILABLE))


@accident
async def the_store_truncates(world: World, rng: random.Random) -> None:
    """Its answers end too early."""
    await _faulty(world, rng, lambda proxy: setattr(proxy, "cut", int(2 ** (rng.random() * 20))), times=2)


@accident
async def the_store_flips(world: World, rng: random.Random) -> None:
    """A bit of what it gives is wrong."""
    await _faulty(world, rng, lambda proxy: setattr(proxy, "flip", int(2 ** (rng.random() * 20))), times=3)


@accident
async def the_store_loses_acknowledgements(world: World, rng: random.Random) -> None:
    """It has stored something, but nobody hears of it."""

    def lose(proxy: FaultyProxy) -> None:
        proxy.trap, proxy.trap_answers = b"PUT ", True

    await _faulty(world, rng, lose, times=2)
