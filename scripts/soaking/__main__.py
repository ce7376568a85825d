"""The command line of ``scripts/soak``."""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from scripts.soaking.samples import drawn, sample, slopes
from scripts.torturing.world import World, end_world, make_world
from tests.functional.rawhttp import ask
from tests.functional.repositories import make_repository, push_commit
from tests.functional.restoring import cachew_command
from tests.functional.server import HOST

_EVERY = 5.0


class Crowd:
    """Clients that do one thing after another until the time is up.

    :param world: the server and its upstream.
    :param until: when, by the monotonic clock.
    """

    def __init__(self, world: World, until: float) -> None:
        self._world = world
        self._until = until
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []

    async def live(self, number: int, rng: random.Random) -> None:
        """Be one client."""
        actions = [self._clone, self._shallow, self._list, self._push, self._restore, self._upload, self._leave]
        while time.monotonic() < self._until:
            action = rng.choices(actions, weights=[4, 4, 8, 4, 2, 2, 2])[0]
            name = action.__name__.removeprefix("_")
            try:
                await action(rng.choice(sorted(self._world.repositories)), f"client{number}", rng)
                self.done[name] += 1
            except AssertionError as failure:
                self.failed.append(f"{name}: {str(failure)[-400:]}")

    def _url(self, name: str) -> str:
        return f"{self._world.server.url}/git/{HOST}/{name}"

    async def _clone(self, name: str, directory: str, rng: random.Random) -> None:
        await self._cloned(name, directory)

    async def _shallow(self, name: str, directory: str, rng: random.Random) -> None:
        await self._cloned(name, directory, "--depth=1")

    async def _cloned(self, name: str, directory: str, *words: str) -> None:
        there = self._world.place / "home" / directory
        try:
            await self._world.git.run("clone", "-q", *words, self._url(name), str(there))
        finally:
            shutil.rmtree(there, ignore_errors=True)

    async def _list(self, name: str, directory: str, rng: random.Random) -> None:
        await self._world.git.run("ls-remote", self._url(name), protocol=rng.choice((0, 2)))

    async def _push(self, name: str, directory: str, rng: random.Random) -> None:
        push_commit(self._world.repositories[name], message=f"commit {rng.random()}", name=f"file{rng.randrange(20)}")
        await self._list(name, directory, rng)

    async def _restore(self, name: str, directory: str, rng: random.Random) -> None:
        there = self._world.place / "home" / directory
        words = ("--url", self._world.server.url, "git", "restore", f"https://{HOST}/{name}", str(there))
        try:
            await cachew_command(self._world.reactor, self._world.git, *words)
        finally:
            shutil.rmtree(there, ignore_errors=True)

    async def _upload(self, name: str, directory: str, rng: random.Random) -> None:
        world, path = self._world, f"/api/v1/object/soak/{rng.randrange(200)}"
        await ask(world.reactor, world.server.url, "POST", path, world.token, body=rng.randbytes(50_000))
        await ask(world.reactor, world.server.url, "GET", path, world.token)

    async def _leave(self, name: str, directory: str, rng: random.Random) -> None:
        leaving = Deferred.fromCoroutine(self._cloned(name, directory))
        leaving.addErrback(lambda _: None)
        await self._world.later(rng.random() * 0.2)
        leaving.cancel()
        await leaving


async def _watch(world: World, minutes: list[float], series: dict[str, list[float]], until: float) -> None:
    began = time.monotonic()
    while time.monotonic() < until:
        await world.later(_EVERY)
        children = sum(pid != world.pid for pid in world.children())
        minutes.append((time.monotonic() - began) / 60)
        for name, value in sample(world.pid, world.state, children).items():
            series.setdefault(name, []).append(value)


async def _soak(reactor: Any, options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="cachew-soak-") as place:
        world = await make_world(reactor, Path(place), options.seed)
        world.repositories = {
            f"org/r{number}": make_repository(world.upstream.path(f"org/r{number}"), commits=20, seed=number)
            for number in range(options.repositories)
        }
        until = time.monotonic() + options.minutes * 60
        crowd, minutes, series = Crowd(world, until), list[float](), dict[str, list[float]]()
        lives = [crowd.live(number, random.Random(number)) for number in range(options.clients)]
        try:
            await gatherResults(
                [Deferred.fromCoroutine(one) for one in (*lives, _watch(world, minutes, series, until))]
            )
        finally:
            await end_world(world)
    return _judged(crowd, minutes, series, Path(options.output))


def _judged(crowd: Crowd, minutes: list[float], series: dict[str, list[float]], output: Path) -> int:
    output.write_text(drawn(minutes, series))
    judged = slopes(minutes, series)
    print(", ".join(f"{count} {name}" for name, count in sorted(crowd.done.items())))
    for slope in judged:
        print(f"{slope.name:14} {slope.per_minute:+8.3f} a minute{' GROWS' if slope.grows else ''}")
    for failure in crowd.failed[:10]:
        print(f"failed: {failure}")
    return int(bool(crowd.failed) or any(slope.grows for slope in judged))


async def _main(reactor: Any, options: argparse.Namespace) -> None:
    raise SystemExit(await _soak(reactor, options))


def main(words: Sequence[str]) -> None:
    """Keep a server busy."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="how long (60)")
    parser.add_argument("--clients", type=int, default=20, help="how many at once (20)")
    parser.add_argument("--repositories", type=int, default=30, help="of how many repositories (30)")
    parser.add_argument("--seed", type=int, default=1, help="what is decided by chance (1)")
    parser.add_argument("--output", default="soak.svg", help="where the curves go (soak.svg)")
    react(lambda reactor: Deferred.fromCoroutine(_main(reactor, parser.parse_args(words))))


if __name__ == "__main__":
    main(sys.argv[1:])
