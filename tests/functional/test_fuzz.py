"""Nonsense in great amounts: no traceback, no 500, no file or process outside its place, and one name for one thing.

``CACHEW_FUZZ`` multiplies the number of cases, which is about 100,000; failures are found again by their seed.
"""

import contextlib
import gzip
import os
import random
import re
import tempfile
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import pytest
import pytest_twisted
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import blockingCallFromThread, deferToThread

from cachew.client.archiverules import DirectoryRules
from cachew.client.clienterrors import ArchiveBroken, ArchiveRefused, ExtractionFailed
from cachew.client.extract import choose_unpacker, extract
from cachew.client.tarscan import TarScanner
from cachew.http.conditional import evaluate
from cachew.http.heads import HeadReader, HeadRefused
from cachew.http.limits import Limits
from cachew.mirrors.identity import Identity, RepositoryPath, parse_path
from cachew.plumbing.errors import BadRequest, NotFound
from cachew.plumbing.pktline import Decoder
from tests.fakes.archives import tar
from tests.fakes.hostile import HOSTILE
from tests.fakes.parsing import parse_command
from tests.functional import nonsense, repositories
from tests.functional.conftest import Start
from tests.functional.misbehaviour import Refuse
from tests.functional.process import ServerProcess
from tests.functional.rawhttp import ask, connect
from tests.functional.remains import files, settle, temporary_files
from tests.functional.upstream import Upstream

TIMES = float(os.environ.get("CACHEW_FUZZ", "1"))
SEEDS = st.integers(0, 2**48)


def cases(count: int) -> Any:
    """Run a test with so many seeds, more if the environment asks for it."""
    return settings(
        max_examples=max(1, int(count * TIMES)),
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def parsed(raw: bytes) -> RepositoryPath | None:
    """Parse a path; None when it is refused."""
    try:
        return parse_path(raw)
    except (BadRequest, NotFound):
        return None


@pytest.mark.no_cover
@cases(100)
@given(SEEDS)
def test_paths(seed: int) -> None:
    """A path is refused or names one repository, whose name and directory are its own and lead back to it."""
    rng = random.Random(seed)
    directories: dict[str, Identity] = {}
    for _ in range(500):
        found = parsed(nonsense.path(rng).partition("?")[0].encode("latin-1", "replace"))
        if found is None:
            continue
        identity = found.identity
        assert Identity.from_name(identity.name) == identity
        assert directories.setdefault(identity.directory_name, identity) == identity
        host, directory = identity.directory_name.split("/")
        assert unquote(host) == identity.host
        assert directory.endswith(".git") and not re.search(r"[\x00-\x20/\\:]|^[-.]", directory)


@pytest.mark.no_cover
@cases(20)
@given(SEEDS)
def test_spellings(seed: int) -> None:
    """Two spellings of one repository are one, and what differs in more than its spelling is not."""
    rng = random.Random(seed)
    letters = "abcXYZ019._~+@-"
    for _ in range(500):
        segments = ["".join(rng.choices(letters, k=rng.randrange(1, 9))) for _ in range(rng.randrange(1, 5))]
        plain = parsed(b"/git/git.example/" + "/".join(segments).encode() + b"/info/refs")
        host = rng.choice(("git.example", "GIT.example", "Git.Example:443"))
        spelled = ["".join(f"%{ord(c):02x}" if rng.random() < 0.2 else c for c in segment) for segment in segments]
        suffix = rng.choice(("", ".git")) if not segments[-1].endswith(".git") else ""
        other = parsed(f"/git/{host}/{'/'.join(spelled)}{suffix}/info/refs".encode())
        if plain is not None and other is not None:
            assert plain.identity == other.identity
        assert (plain is None) <= (other is None or suffix != ""), (segments, spelled)
        longer = parsed(f"/git/{host}/{'/'.join(spelled)}/x/info/refs".encode())
        assert longer is None or plain is None or longer.identity.directory_name != plain.identity.directory_name


@pytest.mark.no_cover
@cases(75)
@given(SEEDS)
def test_heads_and_bodies(seed: int) -> None:
    """Request heads, pkt-lines and commands are understood or refused in the words that are meant for it."""
    rng = random.Random(seed)
    for _ in range(400):
        raw = nonsense.request(rng)
        head, _, body = raw.partition(b"\r\n\r\n")
        try:
            HeadReader(Limits()).feed(head + b"\r\n\r\n")
        except HeadRefused as refused:
            assert 400 <= refused.status < 506
        try:
            list(Decoder().feed(body))
            parse_command(body, rng.choice((None, "version=2", "version=1")))
        except BadRequest:
            continue


@pytest.mark.no_cover
@cases(40)
@given(SEEDS)
def test_ranges(seed: int) -> None:
    """Whatever preconditions and ranges say, what is sent lies within the object."""
    rng = random.Random(seed)
    for _ in range(300):
        size = rng.choice((0, 1, 10, 2**40))
        numbers = [rng.choice(("", "0", "5", str(size - 1), str(size), "9" * 30, "-1", "x")) for _ in range(4)]
        form = rng.choice(("bytes={}-{}", "bytes={}-{},{}-{}", "bytes = {}-{}", "lines={}-{}", "{}{}"))
        condition = rng.choice(("if-range", "if-match", "if-none-match", "x"))
        fields = {"range": form.format(*numbers), condition: rng.choice(('"t"', "*", "t", ""))}
        decision = evaluate(rng.choice(("GET", "HEAD")), fields, etag="t", modified=1e9, size=size)
        assert decision.status in (200, 206, 304, 412, 416)
        if decision.status in (200, 206):
            assert decision.start >= 0 and decision.start + decision.length <= size


@pytest.mark.no_cover
@cases(25)
@given(SEEDS)
def test_archives(seed: int) -> None:
    """Of a damaged or hostile archive nothing is written outside its directory."""
    rng = random.Random(seed)
    whole = [tar(members) for name, members in HOSTILE.items() if "pax" not in name]
    for _ in range(200):
        archive = bytearray(rng.choice(whole) + rng.choice(whole))
        for _ in range(rng.randrange(6)):
            archive[rng.randrange(len(archive))] = rng.randrange(256)
        try:
            for _piece in TarScanner(rules=DirectoryRules()).feed(bytes(archive)):
                pass
        except (ArchiveBroken, ArchiveRefused):
            continue
    with tempfile.TemporaryDirectory() as place:
        for number in range(4):
            archive = bytearray(rng.choice(whole))
            archive[rng.randrange(512)] = rng.randrange(256)
            target = Path(place, f"out{number}")
            target.mkdir()
            unpacker = choose_unpacker("tar" if number % 2 else None, exact_modes=True)(target)
            with contextlib.suppress(ArchiveBroken, ArchiveRefused, ExtractionFailed):
                extract([[bytes(archive)]], scanner=TarScanner(rules=DirectoryRules()), unpacker=unpacker)
        assert {path.name for path in Path(place).iterdir()} == {f"out{number}" for number in range(4)}


async def answers(url: str, requests: list[bytes]) -> list[bytes]:
    """Send each request on a connection of its own, all at once, and return what came back."""

    async def one(raw: bytes) -> bytes:
        client = await connect(reactor, url)
        client.send(raw)
        received: bytes = await client.closed()
        return received

    return list(await gatherResults([Deferred.fromCoroutine(one(raw)) for raw in requests]))


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
@pytest.mark.timeout(90 * max(1.0, TIMES))
async def test_a_whole_server(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    """A server takes nonsense of every kind with a status that says what is wrong, and is none the worse for it."""
    cachew = await served(start, upstream)
    outside = {name for name in files(tmp_path) if not name.startswith("state/")}
    before = mirrors(cachew.state)

    @cases(20)
    @given(SEEDS)
    def throw(seed: int) -> None:
        rng = random.Random(seed)
        thrown = [nonsense.request(rng) for _ in range(100)]
        waiting: Any = lambda: Deferred.fromCoroutine(answers(cachew.url, thrown))  # noqa: E731
        received: list[bytes] = blockingCallFromThread(cast(Any, reactor), waiting)
        for raw, answer in zip(thrown, received, strict=True):
            assert b"Traceback" not in answer and not answer.startswith(b"HTTP/1.1 500"), (raw, answer[:500])

    await deferToThread(throw)
    await cachew.quiet()
    assert (await ask(reactor, cachew.url, "GET", f"{nonsense.REPOSITORY}/snapshot.tar.zst")).status == 200
    assert not await settle(reactor, lambda: cachew.parts.runtime.processes.running)
    assert mirrors(cachew.state) == before, "nothing else was mirrored"
    assert {name for name in files(tmp_path) if not name.startswith("state/")} == outside
    assert await settle(reactor, lambda: temporary_files(cachew.state)) == []


def mirrors(state: Path) -> set[str]:
    """Name the mirrors."""
    return {str(path.relative_to(state)) for path in state.glob("mirrors/*/*") if path.parent.name != ".aside"}


async def served(start: Start, upstream: Upstream) -> Any:
    """Start a server whose repository is mirrored and has its archives cached."""
    repositories.make_repository(upstream.path("org/repo"), commits=3)
    upstream.misbehave(Refuse(404), kind="lfs")
    limits = '[limits]\nheader-timeout = "300ms"\nbody-timeout = "300ms"\nkeep-alive = "300ms"\n'
    cachew = await start(limits)
    mirror = await cachew.mirrored("org/repo")
    await cachew.parts.snapshots.bundle_store.update(mirror.identity)
    await ask(reactor, cachew.url, "GET", f"{nonsense.REPOSITORY}/snapshot.tar.zst")
    await cachew.quiet()
    return cachew


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
async def test_a_bomb(upstream: Upstream, tmp_path: Path) -> None:
    """A request that inflates a thousandfold is refused for at most 64 MB and a second of CPU."""
    repositories.make_repository(upstream.path("org/repo"))
    config = f'[upstreams."git.example"]\nurl = "{upstream.url}"\n[git]\nmax-request-body = "10GB"\n'
    server = ServerProcess(reactor=reactor, directory=tmp_path / "server", config=config)
    await server.start()
    try:
        where = f"{nonsense.REPOSITORY}/git-upload-pack"
        kind = "Content-Type: application/x-git-upload-pack-request"
        await ask(reactor, server.url, "POST", where, kind, body=b"0000")
        peak, cpu = server.peak(), server.cpu()
        bomb = gzip.compress(bytes(200_000_000), 9)
        response = await ask(reactor, server.url, "POST", where, kind, "Content-Encoding: gzip", body=bomb)
        assert response.status == 413
        assert server.peak() - peak <= 64 * 1024 * 1024
        assert server.cpu() - cpu <= 1
    finally:
        await server.stop()
