"""What must hold after every accident, however it went.

What is wrong (a damaged clone, somebody else's bytes, a partial object, an unexpected failure in the log) is wrong at
once. What is late (a refusal, an older state) may be so until the documented time is over.
"""

import json
import random
import re
import shutil
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from scripts.torturing.bounds import DECIDED, DESCRIPTORS, MEMORY, RELIEF, TIDY, WAIT
from scripts.torturing.hosted import BIG, LFS_DATA, PUBLIC, READER
from scripts.torturing.replica import Replica
from scripts.torturing.world import OBJECTS, World
from tests.functional.lfs import MEDIA_TYPE
from tests.functional.remains import temporary_files
from tests.functional.restoring import cachew_command

_TROUBLE = re.compile(r"Traceback|\bcritical\b|Unhandled error", re.IGNORECASE)
_PAUSE = 0.3


class Broken(AssertionError):
    """Something that must hold does not."""


class Late(Broken):
    """Something is not yet as it must be."""


async def everything_holds(world: World, rng: random.Random) -> None:
    """Check all of it, and give damage the documented time to heal.

    :raise Broken: when anything is wrong.
    """
    for replica in world.replicas:
        await replica.restart()
    until = world.reactor.seconds() + RELIEF
    for name in sorted(world.hosted):
        await _in_time(world, until, partial(_clone_somewhere, world, rng, name))
    for replica in world.replicas:
        await _in_time(world, until, partial(_clone, world, replica, PUBLIC, 2))
        await _in_time(world, until, partial(_upload, world, replica))
    for name in (PUBLIC, BIG):
        await _in_time(world, until, partial(_restore, world, world.some(rng), name))
    await _in_time(world, until, lambda: _lfs(world, world.some(rng)))
    await _in_time(world, until, lambda: _objects(world))
    _pushes(world)
    for replica in world.replicas:
        await _in_time(world, until, partial(_mirrors_are_well, world, replica))
        _log_is_quiet(replica)
        await _nothing_is_left(world, replica)


async def _in_time(world: World, until: float, check: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await check()
        except Late:
            world.durations.note("RELIEF", RELIEF - (until - world.reactor.seconds()))
            if world.reactor.seconds() > until:
                raise
        await world.later(_PAUSE)


async def _clone_somewhere(world: World, rng: random.Random, name: str) -> None:
    await _clone(world, world.some(rng), name, rng.choice((0, 2)))


def _place(world: World, kind: str) -> Path:
    world.clones += 1
    return world.place / "home" / f"{kind}{world.clones}"


async def _clone(world: World, replica: Replica, name: str, protocol: int) -> None:
    there, hosted = _place(world, "clone"), world.hosted[name]
    config = {f"http.{replica.url}/.extraHeader": f"Authorization: {READER}"} if hosted.private else {}
    what = f"clone of {name} from {replica.name} with v{protocol}"
    began = world.reactor.seconds()
    try:
        url = f"{replica.url}/git/{name}"
        done = await world.git.run("clone", "-q", url, there, protocol=protocol, config=config, check=False)
        if done.code:
            raise Late(f"the {what} failed: {done.err[-500:]}")
        took = world.reactor.seconds() - began
        world.durations.note("WAIT", took)
        if took > WAIT:
            raise Broken(f"the {what} took {took:.0f} s")
        if await checkout_is_sound(world, there, name, what) != hosted.repository.commit():
            raise Late(f"the {what} is not where the upstream is")
        theirs = {ref: oid for ref, oid in hosted.repository.refs().items() if ref.startswith("refs/heads/")}
        listed = await world.git.run("for-each-ref", "--format=%(refname) %(objectname)", "refs/remotes", cwd=there)
        ours = dict(line.split(" ") for line in listed.out.splitlines() if "/HEAD " not in line)
        if {ref.replace("refs/remotes/origin/", "refs/heads/"): oid for ref, oid in ours.items()} != theirs:
            raise Late(f"the {what} has not the upstream's refs: {ours} instead of {theirs}")
    finally:
        shutil.rmtree(there, ignore_errors=True)


async def checkout_is_sound(world: World, there: Path, name: str, what: str) -> str:
    """Return a checkout's commit, after its objects and its files were found to be as they should.

    :raise Broken: when something of it is damaged.
    :raise Late: when it is at a commit which the repository was never at.
    """
    checked = await world.git.run("fsck", "--strict", cwd=there, check=False)
    if checked.code:
        raise Broken(f"the {what} is damaged: {checked.err[-500:]}")
    status = await world.git.run("status", "--porcelain", cwd=there, check=False)
    if status.code or status.out:
        raise Broken(f"the {what} has not the tree of its commit: {status.out[-500:]}{status.err[-500:]}")
    head = (await world.git.run("rev-parse", "HEAD", cwd=there)).out
    if head not in world.hosted[name].heads:
        raise Late(f"the {what} is at {head}, where that repository has never been")
    return head


async def _restore(world: World, replica: Replica, name: str) -> None:
    there = _place(world, "restored")
    words = ("--url", replica.url, "git", "restore", f"https://{name}", str(there))
    try:
        done = await cachew_command(world.reactor, world.git, *words, check=False)
        if done.code:
            raise Late(f"the restore of {name} from {replica.name} failed: {done.err[-500:]}")
        await checkout_is_sound(world, there, name, f"restore of {name} from {replica.name}")
    finally:
        shutil.rmtree(there, ignore_errors=True)


async def _lfs(world: World, replica: Replica) -> None:
    oid, store = "", world.upstream.lfs.objects[PUBLIC.partition("/")[2]]
    (oid,) = store
    body = json.dumps({"operation": "download", "objects": [{"oid": oid, "size": len(LFS_DATA)}]}).encode()
    headers = (f"Content-Type: {MEDIA_TYPE}", f"Accept: {MEDIA_TYPE}", f"Authorization: {READER}")
    answer = await replica.ask("POST", f"/git/{PUBLIC}.git/info/lfs/objects/batch", *headers, body=body)
    if answer.status != 200:
        raise Late(f"leave to download an LFS object from {replica.name} is answered {answer.status}: {answer.body!r}")
    (entry,) = json.loads(answer.body)["objects"]
    action = entry["actions"]["download"]
    shown = {"Authorization": READER} | action.get("header", {})
    lines = [f"{name}: {value}" for name, value in shown.items()]
    got = await replica.ask("GET", "/git/" + action["href"].partition("/git/")[2], *lines)
    if got.status != 200:
        raise Late(f"an LFS object from {replica.name} is answered {got.status}: {got.body[:200]!r}")
    if got.body != LFS_DATA:
        raise Broken(f"an LFS object from {replica.name} is not what was stored")


async def _upload(world: World, replica: Replica) -> None:
    if not await world.upload(replica, shared=True):
        raise Late(f"{replica.name} takes no object")


async def _objects(world: World) -> None:
    for one in world.objects[-20:]:
        answer = await one.replica.ask("GET", f"{OBJECTS}/{one.key}", one.replica.token)
        if answer.status != 200:
            raise Late(f"object {one.key} that {one.replica.name} accepted is answered {answer.status}")
        if answer.body != one.body:
            raise Broken(f"object {one.key} that {one.replica.name} accepted is changed")


async def _mirrors_are_well(world: World, replica: Replica) -> None:
    """No mirror is in doubt for longer than it may be, and the public one, which was just cloned, is there again."""
    states: dict[str, str] = {}
    began = world.reactor.seconds()
    while True:
        answer = await replica.ask("GET", "/admin/repositories", replica.token)
        if answer.status != 200:
            raise Late(f"the mirrors of {replica.name} are answered {answer.status}")
        states = {one["name"]: one["state"] for one in json.loads(answer.body)["repositories"]}
        if "suspect" not in states.values():
            break
        world.durations.note("DECIDED", world.reactor.seconds() - began)
        if world.reactor.seconds() > began + DECIDED:
            raise Broken(f"{replica.name} has mirrors in doubt: {states}")
        await world.later(_PAUSE)
    if states.get(PUBLIC) not in ("ready", "fetching"):
        raise Late(f"the mirror of {PUBLIC} on {replica.name} is {states.get(PUBLIC)}")


def _pushes(world: World) -> None:
    refs = world.hosted[PUBLIC].repository.refs()
    for branch, commit in world.pushed.items():
        if refs.get(branch) != commit:
            raise Broken(f"{branch} was pushed and acknowledged as {commit}; the upstream has {refs.get(branch)}")


def _log_is_quiet(replica: Replica) -> None:
    new, replica.said = replica.server.output[replica.said :], len(replica.server.output)
    if found := _TROUBLE.search(new):
        raise Broken(f"the log of {replica.name} says:\n{new[max(0, found.start() - 1500) : found.end() + 3000]}")


async def _nothing_is_left(world: World, replica: Replica) -> None:
    left: list[str] = []
    began = world.reactor.seconds()
    while world.reactor.seconds() < began + TIDY:
        left = [_named(pid) for pid in replica.children()] + temporary_files(replica.state)
        if not left:
            break
        await world.later(_PAUSE)
        world.durations.note("TIDY", world.reactor.seconds() - began)
    else:
        raise Broken(f"{replica.name} has left behind: {left}")
    open_now, resident = _taken(replica)
    if open_now > DESCRIPTORS:
        raise Broken(f"{replica.name} has {open_now} descriptors open with nothing to do")
    if resident > MEMORY:
        raise Broken(f"{replica.name} has {resident // 2**20} MB resident with nothing to do")
    print(f"  {replica.name}: {open_now} descriptors, {resident // 2**20} MB", file=sys.stderr)


def _named(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        words = "?"
    return f"process {pid}: {words}"


def _taken(replica: Replica) -> tuple[int, int]:
    """Return how many descriptors a server has open, and how many bytes it has resident (proc(5))."""
    about = Path(f"/proc/{replica.pid}")
    return len(list((about / "fd").iterdir())), int((about / "statm").read_text().split()[1]) * 4096
