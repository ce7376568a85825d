"""The command line of ``scripts/torture``.

The accidents of a seed are the same in every run; the moments within them are as exact as the machine is. A run that
fails says what was wrong and how to see it again: with all the accidents up to there, then with ever fewer of them.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from scripts.torturing.accidents.all import ACCIDENTS
from scripts.torturing.rig import Chosen, Rig, numbers, sequence, shortest


def _chosen(options: argparse.Namespace) -> list[Chosen]:
    kinds = options.only or sorted(ACCIDENTS)
    if not options.replay:
        return sequence(options.seed, kinds, options.rounds)
    first = sequence(options.seed, kinds, max(options.replay))
    return [first[number - 1] for number in options.replay]


def _numbers(text: str) -> list[int]:
    """Return the numbers of accidents that are to happen again.

    :raise ValueError: when one is none.
    """
    found = [int(number) for number in text.split(",")]
    if min(found) < 1:
        raise ValueError("the first accident is number 1")
    return found


async def _main(reactor: Any, options: argparse.Namespace) -> None:
    chosen = _chosen(options)
    began, failed = time.monotonic(), 0
    rig = Rig(reactor=reactor, seed=options.seed, replicas=options.replicas, store=not options.no_store)
    done, wrong = await rig.torture(chosen, options.seconds)
    while wrong and options.keep_going and done < len(chosen):
        print(f"wrong after {done} accidents: {wrong}", flush=True)
        failed += 1
        more, wrong = await rig.torture(chosen[done:], options.seconds)
        done += more
    print(f"at most: {rig.durations}")
    if failed:
        print(f"{done} accidents in {time.monotonic() - began:.0f} s, {failed + bool(wrong)} times something wrong")
        raise SystemExit(1)
    if not wrong:
        print(f"{done} accidents in {time.monotonic() - began:.0f} s, nothing wrong")
        return
    print(f"wrong after {done} accidents: {wrong}")
    if not done:
        raise SystemExit(1)
    replay = numbers(await shortest(rig, chosen[:done]))
    only = "".join(f" --only {kind}" for kind in options.only or ())
    print(f"again: scripts/torture --seed {options.seed} {rig.options}{only} --replay {replay}")
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
    parser.add_argument("--replay", type=_numbers, help="exactly these of the seed's, by number, separated by commas")
    options = parser.parse_args(words)
    react(lambda reactor: Deferred.fromCoroutine(_main(reactor, options)))


if __name__ == "__main__":
    main(sys.argv[1:])
