"""What happens to the state directory: to single files of every kind, to directories, to the file system."""

import os
import random
import re
import shutil
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from scripts.torturing.accidents.kinds import accident, busy, pass_requests, skipped
from scripts.torturing.replica import Replica
from scripts.torturing.world import World

_ONLY_ROOT = "only root can give a server a file system of its own, and only where mounts are allowed"
_HEX = re.compile(r"[0-9a-f]{6,}|[0-9]+")


def kind_of(path: Path) -> str:
    """Return what kind of file one is, by its place below the state directory."""
    name = _HEX.sub("N", path.name)
    return f"{path.parts[0]}/{name if path.parts[0] != 'cache' else path.suffix or 'object'}"


def _some_file(replica: Replica, rng: random.Random) -> Path | None:
    """Choose a kind first, so that what there is little of is hit as often as packs are."""
    kinds = defaultdict(list)
    for path in replica.files():
        kinds[kind_of(path.relative_to(replica.state))].append(path)
    return rng.choice(kinds[rng.choice(sorted(kinds))]) if kinds else None


def _hit(path: Path, how: str, rng: random.Random) -> None:
    status = path.stat()
    if how == "flip" and status.st_size:
        _flip(path, rng.randrange(status.st_size), 1 << rng.randrange(8))
    elif how == "truncate":
        os.truncate(path, rng.randrange(status.st_size + 1))
    elif how == "empty":
        os.truncate(path, 0)
    else:
        path.unlink()
        if how == "directory":
            path.mkdir()
    if rng.random() < 0.5 and path.exists():
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _flip(path: Path, at: int, bit: int) -> None:
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bit]))


async def _damage(world: World, rng: random.Random, how: str) -> None:
    replica, down = world.some(rng), rng.random() < 0.5
    if down:
        await replica.server.end(signal.SIGTERM)
    path = _some_file(replica, rng)
    if path is not None:
        at = path.relative_to(replica.state)
        print(f"  {how} {replica.name} {at}{' while it is down' if down else ''}", flush=True)
        with suppress(FileNotFoundError):
            _hit(path, how, rng)
        if at.parts[0] == "cache":
            # What lay in that one place only can't outlive it.
            world.objects = [one for one in world.objects if one.replica is not replica or one.shared]
    if down:
        await replica.start()


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
    replica = world.some(rng)
    names = [name for name in ("packs", "scratch", "spools", "mirrors", "home") if (replica.state / name).exists()]
    mirrors = [path for path in (replica.state / "mirrors").glob("*/*") if path.is_dir()]
    victim = rng.choice([*(replica.state / name for name in names), *mirrors])
    print(f"  {replica.name} {victim.relative_to(replica.state)}", flush=True)
    shutil.rmtree(victim, ignore_errors=True)


@accident
async def the_disk_is_full(world: World, rng: random.Random) -> None:
    """Others fill it, and make room again."""
    replica = world.some(rng)
    if not replica.has_disk:
        skipped(_ONLY_ROOT)
        return
    ballast = replica.state / "ballast"
    with ballast.open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(2**20))
            file.flush()
    try:
        await pass_requests(world, rng, replica)
        await world.upload(replica)
    finally:
        ballast.unlink()


@accident
async def the_disk_is_read_only(world: World, rng: random.Random) -> None:
    """Nothing can be opened for writing for a while, as after an error of the file system."""
    replica = world.some(rng)
    if not replica.has_disk:
        skipped(_ONLY_ROOT)
        return
    async with busy(world, replica, rng):
        with _read_only(replica.state, replica.place / "read-only"):
            await pass_requests(world, rng, replica)
            await world.upload(replica)


@contextmanager
def _read_only(state: Path, beside: Path) -> Iterator[None]:
    """Lay a read-only view of a directory over it, made beside it, where nobody has a file open for writing."""
    beside.mkdir(exist_ok=True)
    with ExitStack() as mounted:
        _mount(mounted, "--bind", str(state), str(beside))
        _run("mount", "-o", "remount,ro,bind", str(beside))
        _mount(mounted, "--bind", str(beside), str(state))
        yield


def _mount(mounted: ExitStack, *words: str) -> None:
    _run("mount", *words)
    mounted.callback(_run, "umount", "-l", words[-1])


def _run(*words: str) -> None:
    subprocess.run(words, check=True)
