"""Clients that leave."""

import json
import random

from scripts.torturing.accidents.kinds import accident
from scripts.torturing.hosted import BIG, PUBLIC
from scripts.torturing.world import OBJECTS, World
from tests.functional.rawhttp import connect, fetch_request, request_head


@accident
async def clients_leave_while_they_ask(world: World, rng: random.Random) -> None:
    """Clients leave at a random byte of their question."""
    for _ in range(10):
        replica = world.some(rng)
        question = rng.choice(_questions(world, replica.token, rng))
        client = await connect(world.reactor, replica.url)
        client.send(question[: rng.randrange(1, len(question) + 1)])
        await world.later(rng.random() * 0.1)
        client.transport.abortConnection()


@accident
async def clients_leave_while_they_are_answered(world: World, rng: random.Random) -> None:
    """Clients leave at a random byte of their answer."""
    world.push()
    for _ in range(10):
        replica = world.some(rng)
        client = await connect(world.reactor, replica.url)
        client.send(rng.choice(_questions(world, replica.token, rng)))
        enough = int(2 ** (rng.random() * 22))
        for _ in range(40):
            if len(client.received) >= enough:
                break
            await world.later(0.01)
        client.transport.abortConnection()


def _questions(world: World, token: str, rng: random.Random) -> list[bytes]:
    body = rng.randbytes(100_000)
    batch = json.dumps({"operation": "download", "objects": []}).encode()
    length = f"Content-Length: {len(body)}"
    return [
        fetch_request(world.hosted[BIG].repository.commit(), BIG),
        fetch_request(world.hosted[PUBLIC].repository.commit(), PUBLIC),
        request_head("GET", f"/git/{PUBLIC}/snapshot.tar.zst"),
        request_head("GET", f"/git/{BIG}/snapshot.tar.zst", "Range: bytes=1000-2000000"),
        request_head("GET", f"/git/{BIG}/info/refs?service=git-upload-pack"),
        request_head("GET", f"/git/{BIG}/bundle-list"),
        request_head("POST", f"/git/{PUBLIC}/info/lfs/objects/batch", f"Content-Length: {len(batch)}") + batch,
        request_head("POST", f"{OBJECTS}/left", token, length) + body,
    ]
