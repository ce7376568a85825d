"""One run of accidents, and the shortest that shows the same trouble."""

import random
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.torturing.accidents.all import ACCIDENTS
from scripts.torturing.durations import Durations
from scripts.torturing.invariants import everything_holds
from scripts.torturing.world import World, end_world, make_repositories, make_world, start_all

Chosen = tuple[int, str]
"""An accident of a seed: its number in the seed's sequence, which decides about all chance in it, and its kind."""
_LATE_LINES = 1.0
"""Seconds until what servers have just written to their logs has come."""


def sequence(seed: int, kinds: Sequence[str], rounds: int) -> list[Chosen]:
    """Return the first accidents of a seed."""
    rng = random.Random(seed)
    return [(number, rng.choice(kinds)) for number in range(1, rounds + 1)]


def numbers(chosen: Sequence[Chosen]) -> str:
    """Return which of their seed's they are, as it is said on the command line."""
    return ",".join(str(number) for number, _ in chosen)


class Rig:
    """Makes worlds, has accidents happen in them, and checks what must hold.

    :param seed: decides what is left to chance.
    :param replicas: how many servers there are.
    :param store: whether they share an object store.
    """

    def __init__(self, *, reactor: Any, seed: int, replicas: int, store: bool) -> None:
        self.durations = Durations()
        self._reactor = reactor
        self._seed = seed
        self._replicas = replicas
        self._store = store

    @property
    def options(self) -> str:
        """What is said on the command line for one like it."""
        return f"--replicas {self._replicas}{'' if self._store else ' --no-store'}"

    async def torture(self, chosen: Sequence[Chosen], seconds: float = 0.0) -> tuple[int, str]:
        """Let accidents happen, one after another.

        :param seconds: no accident begins so long after all was well at first; 0: all happen.
        :return: how many there were, and what was wrong after the last, empty when nothing was.
        """
        with tempfile.TemporaryDirectory(prefix="cachew-torture-") as place:
            world = await make_world(
                self._reactor,
                Path(place),
                self._seed,
                replicas=self._replicas,
                store=self._store,
                durations=self.durations,
            )
            try:
                return await self._happen(world, chosen, seconds or float("inf"))
            finally:
                await end_world(world)

    async def _happen(self, world: World, chosen: Sequence[Chosen], seconds: float) -> tuple[int, str]:
        done = 0
        try:
            make_repositories(world, self._seed)
            await start_all(world)
            await everything_holds(world, random.Random(self._seed))
            until = time.monotonic() + seconds
            for number, name in chosen:
                if time.monotonic() > until:
                    break
                print(f"{number} {name}", flush=True)
                rng = random.Random(f"{self._seed}/{number}/{name}")
                done += 1
                await ACCIDENTS[name](world, rng)
                await everything_holds(world, rng)
        except AssertionError as broken:
            traceback.print_exc()
            await self._keep_logs(world)
            return done, str(broken) or type(broken).__name__
        return done, ""

    async def _keep_logs(self, world: World) -> None:
        await world.later(_LATE_LINES)
        for replica in world.replicas:
            file = Path(tempfile.gettempdir()) / f"cachew-torture-{self._seed}-{replica.name}.log"
            file.write_text(replica.server.output if replica.server is not None else "")
            print(f"its log: {file}", flush=True)


async def shortest(rig: Rig, chosen: Sequence[Chosen]) -> Sequence[Chosen]:
    """Return the fewest accidents after which something is wrong: of the last ones, as far as each of them matters."""
    length = 1
    while length < len(chosen):
        if await _shows(rig, chosen[-length:]):
            return await _without_what_does_not_matter(rig, list(chosen[-length:]))
        length *= 2
    return chosen


async def _without_what_does_not_matter(rig: Rig, chosen: list[Chosen]) -> list[Chosen]:
    for one in chosen[:-1]:
        fewer = [other for other in chosen if other != one]
        if await _shows(rig, fewer):
            chosen = fewer
    return chosen


async def _shows(rig: Rig, chosen: Sequence[Chosen]) -> bool:
    print(f"trying {numbers(chosen)} alone", flush=True)
    _, wrong = await rig.torture(chosen)
    print(f"wrong: {wrong}" if wrong else "nothing wrong", flush=True)
    return bool(wrong)
