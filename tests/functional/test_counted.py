"""What is logged and counted of downloads whose clients close as soon as they have all."""

import socket
import struct
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.loglines import listening
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream

CLIENTS = 40
SNAPSHOT = "/git/git.example/org/repo/snapshot.tar.zst"


def download(url: str, path: str, barrier: threading.Barrier, *, stop_after: int | None = None) -> int:
    """Receive an answer to its last byte, or only so many bytes of its body, reset the connection; return the bytes."""
    client = socket.create_connection(("127.0.0.1", urlsplit(url).port or 0))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.settimeout(30)
    barrier.wait(30)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    count = len(body)
    while count < (length if stop_after is None else stop_after):
        count += len(client.recv(65536))
    client.close()
    return length


async def together(work: Callable[[threading.Barrier], int]) -> list[int]:
    """Run the clients in threads of their own, four at a time."""
    results: list[int] = []
    for _ in range(CLIENTS // 4):
        barrier = threading.Barrier(4)
        running = [deferToThread(work, barrier) for _ in range(4)]
        results += [await one for one in running]
    return results


def counted(cachew: Cachew, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples."""
    registry: Any = cachew.parts.runtime.metrics.registry
    samples = [s for family in registry.collect() for s in family.samples if s.name == name]
    return float(sum(s.value for s in samples if labels.items() <= s.labels.items()))


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("size", [100, 3_000_000])
async def test_complete_downloads_count_as_complete(upstream: Upstream, start: Start, size: int) -> None:
    """All of them have their status and all of their bytes, though their clients reset the connection at once."""
    repositories.make_repository(upstream.path("org/repo"), commits=1, files=1, size=size)
    cachew = await start()
    assert len(await (await cachew.get("org/repo/snapshot.tar.zst")).content()) > size
    await cachew.quiet()
    before = counted(cachew, "cachew_response_bytes_total", source="cache")
    with listening() as log:
        lengths = await together(lambda barrier: download(cachew.url, SNAPSHOT, barrier))
        await log.seen("snapshot.tar.zst", CLIENTS)
    route = "git snapshot.tar.zst"
    assert counted(cachew, "cachew_requests_total", route=route, status="gone") == 0
    assert counted(cachew, "cachew_response_bytes_total", source="cache") - before == sum(lengths)


@pytest_twisted.ensureDeferred
async def test_what_was_broken_off_counts_for_what_left(upstream: Upstream, start: Start) -> None:
    """A client that leaves in the midst is gone, and the bytes that its socket took are counted."""
    repositories.make_repository(upstream.path("org/repo"), commits=1, files=1, size=30_000_000)
    cachew = await start()
    assert len(await (await cachew.get("org/repo/snapshot.tar.zst")).content()) > 30_000_000
    await cachew.quiet()
    before = counted(cachew, "cachew_response_bytes_total", source="cache")
    barrier = threading.Barrier(1)
    with listening() as log:
        await deferToThread(lambda: download(cachew.url, SNAPSHOT, barrier, stop_after=5_000_000))
        await log.seen("snapshot.tar.zst gone")
    assert counted(cachew, "cachew_requests_total", route="git snapshot.tar.zst", status="gone") == 1
    assert 5_000_000 <= counted(cachew, "cachew_response_bytes_total", source="cache") - before < 30_000_000
