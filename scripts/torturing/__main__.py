"""The command line of ``scripts/torture``.

The accidents of a seed are the same in every run; the moments within them are as exact as the machine is. A run that
fails says what was wrong and how to see it again: with all the accidents up to there, then with ever fewer of them.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from scripts.torturing.accidents import ACCIDENTS
from scripts.torturing.invariants import Broken, everything_holds
from scripts.torturing.world import end_world, make_world


def _chosen(options: argparse.Namespace) -> list[str]:
    if options.replay:
        return list(options.replay.split(","))
    rng = random.Random(options.seed)
    names = options.only or sorted(ACCIDENTS)
    return [rng.choice(names) for _ in range(options.rounds)]


async def torture(reactor: Any, seed: int, names: Sequence[str], seconds: float = 0.0) -> tuple[int, str]:
    """Let accidents happen to one server, one after another.

    :param seconds: no accident begins after so many; 0: all happen.
    :return: how many there were, and what was wrong after the last, empty when nothing was.
    """
    until = time.monotonic() + seconds if seconds else float("inf")
    with tempfile.TemporaryDirectory(prefix="cachew-torture-") as place:
        world = await make_world(reactor, Path(place), seed)
        done = 0
        try:
            await everything_holds(world)
            for number, name in enumerate(names):
                if time.monotonic() > until:
                    break
                print(f"{number + 1} {name}", flush=True)
                done = number + 1
                await ACCIDENTS[name](world, random.Random(f"{seed}/{number}/{name}"))
                await everything_holds(world)
        except Broken as broken:
            (Path(tempfile.gettempdir()) / "cachew-torture.log").write_text(world.server.output)
            return done, str(broken)
        finally:
            await end_world(world)
    return done, ""


async def shortest(reactor: Any, seed: int, names: Sequence[str]) -> Sequence[str]:
    """Return the fewest of the last accidents after which something is wrong, as far as halving finds it."""
    length = 1
    while length < len(names):
        print(f"trying the last {length} alone", flush=True)
        _, wrong = await torture(reactor, seed, names[-length:])
        if wrong:
            return names[-length:]
        length *= 2
    return names


async def _main(reactor: Any, options: argparse.Namespace) -> None:
    names = _chosen(options)
    began = time.monotonic()
    done, wrong = await torture(reactor, options.seed, names, options.seconds)
    if not wrong:
        print(f"{done} accidents in {time.monotonic() - began:.0f} s, nothing wrong")
        return
    print(f"wrong after {done} accidents: {wrong}")
    replay = await shortest(reactor, options.seed, names[:done])
    print(f"again: scripts/torture --seed {options.seed} --replay {','.join(replay)}")
    raise SystemExit(1)


def main(words: Sequence[str]) -> None:
    """Torture a server."""
    parser = argparse.ArgumentParser(prog="scripts/torture", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--seed", type=int, default=1, help="what is decided by chance (1)")
    parser.add_argument("--rounds", type=int, default=50, help="how many accidents (50)")
    parser.add_argument("--seconds", type=float, default=0, help="begin none after so many seconds")
    parser.add_argument("--only", action="append", choices=sorted(ACCIDENTS), help="only this kind; may be repeated")
    parser.add_argument("--replay", help="exactly these, separated by commas")
    options = parser.parse_args(words)
    react(lambda reactor: Deferred.fromCoroutine(_main(reactor, options)))


if __name__ == "__main__":
    main(sys.argv[1:])
