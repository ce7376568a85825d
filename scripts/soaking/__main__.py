"""The command line of ``scripts/soak``."""

import argparse
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from scripts.soaking.samples import drawn, sample, slopes
from scripts.torturing.fastconfig import fast_config
from scripts.torturing.world import World, end_world, make_world, start_all
from tests.functional.gate import basic
from tests.functional.repositories import Repository, make_repository, push_commit
from tests.functional.restoring import cachew_command
from tests.functional.server import HOST

CONFIG = fast_config(
    {
        "ref-check-interval": "1s",
        "snapshot-interval": "20s",
        "bundle-interval": "20s",
        "mirror-snapshot-interval": "40s",
        "repack-interval": "60s",
        "scrub-interval": "60s",
        "snapshot-max-age": "60s",
        "mirror-limit": "8MB",
    },
    disk="16MB",
    packs="5MB",
    rights=2,
)
"""Everything that an hour's soak is to see often happens every minute, and nothing has room for all of it."""
_EVERY = 5.0
_TROUBLE = re.compile(r"Traceback|\bcritical\b|Unhandled error", re.IGNORECASE)
_PUSHER = basic("pusher", "s3cret")


class Crowd:
    """Clients that do one thing after another until the time is up.

    :param world: the server and its upstream.
    :param repositories: what that has, by name.
    :param until: when, by the monotonic clock.
    :param pause: seconds that a client rests between two things, on average.
    """

    def __init__(self, world: World, repositories: Mapping[str, Repository], until: float, pause: float) -> None:
        self._world, self._replica = world, world.replicas[0]
        self._repositories = repositories
        self._until = until
        self._pause = pause
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []

    async def live(self, number: int, rng: random.Random) -> None:
        """Be one client."""
        actions = [self._clone, self._shallow, self._list, self._push, self._move, self._restore, self._upload]
        while time.monotonic() < self._until:
            action = rng.choices([*actions, self._leave], weights=[4, 4, 8, 2, 3, 2, 2, 2])[0]
            name = action.__name__.removeprefix("_")
            try:
                await action(rng.choice(sorted(self._repositories)), f"client{number}", rng)
                self.done[name] += 1
            except AssertionError as failure:
                self.failed.append(f"{name}: {str(failure)[-400:]}")
            await self._world.later(rng.expovariate(1 / self._pause) if self._pause else 0)

    def _url(self, name: str) -> str:
        return f"{self._replica.url}/git/{HOST}/{name}"

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
        there = self._world.place / "home" / directory
        git, config = self._world.git, {f"http.{self._replica.url}/.extraHeader": f"Authorization: {_PUSHER}"}
        try:
            await git.run("clone", "-q", "--depth=3", self._url(name), str(there))
            (there / f"of-{directory}").write_bytes(rng.randbytes(1000))
            await git.run("add", ".", cwd=there)
            await git.run("commit", "-q", "-m", "pushed", cwd=there)
            await git.run("push", "-q", "--force", "origin", f"HEAD:refs/heads/{directory}", cwd=there, config=config)
        finally:
            shutil.rmtree(there, ignore_errors=True)

    async def _move(self, name: str, directory: str, rng: random.Random) -> None:
        push_commit(self._repositories[name], message=f"commit {rng.random()}", name=f"file{rng.randrange(20)}")
        await self._list(name, directory, rng)

    async def _restore(self, name: str, directory: str, rng: random.Random) -> None:
        there = self._world.place / "home" / directory
        words = ("--url", self._replica.url, "git", "restore", f"https://{HOST}/{name}", str(there))
        try:
            await cachew_command(self._world.reactor, self._world.git, *words)
        finally:
            shutil.rmtree(there, ignore_errors=True)

    async def _upload(self, name: str, directory: str, rng: random.Random) -> None:
        replica, path = self._replica, f"/api/v1/object/soak/{rng.randrange(200)}"
        await replica.ask("POST", path, replica.token, body=rng.randbytes(50_000))
        await replica.ask("GET", path, replica.token)

    async def _leave(self, name: str, directory: str, rng: random.Random) -> None:
        leaving = Deferred.fromCoroutine(self._cloned(name, directory))
        leaving.addErrback(lambda _: None)
        await self._world.later(rng.random() * 0.2)
        leaving.cancel()
        await leaving


async def _watch(world: World, minutes: list[float], series: dict[str, list[float]], until: float) -> None:
    began, before, logged = time.monotonic(), time.monotonic(), 0
    while time.monotonic() < until:
        await world.later(_EVERY)
        replica = world.replicas[0]
        found = sample(replica.pid, replica.state, len(replica.children()))
        now, size = time.monotonic(), len(replica.server.output)
        found["log (KB a minute)"] = (size - logged) / 1024 / (now - before) * 60
        minutes.append((now - began) / 60)
        before, logged = now, size
        for name, value in found.items():
            series.setdefault(name, []).append(value)


async def _soak(reactor: Any, options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="cachew-soak-") as place:
        world = await make_world(reactor, Path(place), options.seed, config=CONFIG)
        repositories = {
            f"org/r{number}": make_repository(
                world.upstream.path(f"org/r{number}"), commits=20, files=40, size=8000, seed=number
            )
            for number in range(options.repositories)
        }
        for name in repositories:
            world.upstream.gate.allow_push(name, _PUSHER)
        await start_all(world)
        until = time.monotonic() + options.minutes * 60
        crowd, minutes = Crowd(world, repositories, until, options.pause), list[float]()
        series: dict[str, list[float]] = {}
        lives = [crowd.live(number, random.Random(number)) for number in range(options.clients)]
        try:
            await gatherResults(
                [Deferred.fromCoroutine(one) for one in (*lives, _watch(world, minutes, series, until))]
            )
        finally:
            await end_world(world)
    _note_trouble(crowd, world.replicas[0].server.output, options.log)
    return _judged(crowd, minutes, series, Path(options.output))


def _note_trouble(crowd: Crowd, output: str, log: str) -> None:
    if log:
        Path(log).write_text(output)
    if found := _TROUBLE.search(output):
        crowd.failed.append(f"the log says: {output[max(0, found.start() - 500) : found.end() + 2000]}")


def _judged(crowd: Crowd, minutes: list[float], series: dict[str, list[float]], output: Path) -> int:
    output.write_text(drawn(minutes, series))
    judged = slopes(minutes, series)
    print(f"{minutes[-1]:.0f} minutes: " + ", ".join(f"{count} {name}" for name, count in sorted(crowd.done.items())))
    for slope in judged:
        values, grows = series[slope.name], " GROWS" if slope.grows else ""
        print(
            f"{slope.name:18} {min(values):9.1f} to {max(values):9.1f}, at the end {values[-1]:9.1f}, "
            f"in the second half {slope.per_minute:+8.3f} a minute, {slope.rise:+8.1f} of {slope.bound:g}{grows}"
        )
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
    parser.add_argument(
        "--pause", type=float, default=1, help="seconds that each rests after each thing, on average (1)"
    )
    parser.add_argument("--seed", type=int, default=1, help="what is decided by chance (1)")
    parser.add_argument("--output", default="soak.svg", help="where the curves go (soak.svg)")
    parser.add_argument("--log", default="", help="where the server's log goes (nowhere)")
    react(lambda reactor: Deferred.fromCoroutine(_main(reactor, parser.parse_args(words))))


if __name__ == "__main__":
    main(sys.argv[1:])
