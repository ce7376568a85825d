"""The command line of ``scripts/torture``.

The accidents of a seed are the same in every run; the moments within them are as exact as the machine is. A run that
fails says what was wrong and how to see it again: with all the accidents up to there, then with ever fewer of them.
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from scripts.torturing.accidents.all import ACCIDENTS
from scripts.torturing.rig import Rig, shortest


def _chosen(options: argparse.Namespace) -> list[str]:
    if options.replay:
        return list(options.replay.split(","))
    rng = random.Random(options.seed)
    names = options.only or sorted(ACCIDENTS)
    return [rng.choice(names) for _ in range(options.rounds)]


async def _main(reactor: Any, options: argparse.Namespace) -> None:
    names = _chosen(options)
    began, failed = time.monotonic(), 0
    rig = Rig(reactor=reactor, seed=options.seed, replicas=options.replicas, store=not options.no_store)
    done, wrong = await rig.torture(names, options.seconds)
    while wrong and options.keep_going and done < len(names):
        print(f"wrong after {done} accidents: {wrong}", flush=True)
        failed += 1
        more, wrong = await rig.torture(names[done:], options.seconds, first=done)
        done += more
    if failed:
        print(f"{done} accidents in {time.monotonic() - began:.0f} s, {failed + bool(wrong)} times something wrong")
        raise SystemExit(1)
    print(f"at most: {rig.durations}")
    if not wrong:
        print(f"{done} accidents in {time.monotonic() - began:.0f} s, nothing wrong")
        return
    print(f"wrong after {done} accidents: {wrong}")
    replay = await shortest(rig, names[:done])
    print(f"again: scripts/torture --seed {options.seed} {rig.options} --replay {','.join(replay)}")
    raise SystemExit(1)


def main(words: Sequence[str]) -> None:
    """Torture a server."""
    parser = argparse.ArgumentParser(prog="scripts/torture", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--seed", type=int, default=1, help="what is decided by chance (1)")
    parser.add_argument("--rounds", type=int, default=50, help="how many accidents (50)")
    parser.add_argument("--seconds", type=float, default=0, help="begin none after so many seconds")
    parser.add_argument("--replicas", type=int, choices=(1, 3), default=3, help="how many servers (3)")
    parser.add_argument("--no-store", action="store_true", help="they share no object store")
    parser.add_argument("--only", action="append", choices=sorted(ACCIDENTS), help="only this kind; may be repeated")
    parser.add_argument("--keep-going", action="store_true", help="begin anew after something wrong, with the next")
    parser.add_argument("--replay", help="exactly these, separated by commas")
    options = parser.parse_args(words)
    react(lambda reactor: Deferred.fromCoroutine(_main(reactor, options)))


if __name__ == "__main__":
    main(sys.argv[1:])
