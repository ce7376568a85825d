"""Redirects to a store: followed for the bytes alone, checked as ever, and never needed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachew.client.clienterrors import DownloadCorrupt
from cachew.client.connections import Connections
from cachew.client.extract import choose_unpacker
from cachew.client.gitdir import GitDirectory
from cachew.client.http import Http
from cachew.client.location import Location
from cachew.client.merge import DirectoryRestore
from cachew.client.seeding import Seeding
from tests.client.test_download import BODY, PIECE, fetch
from tests.fakes.archives import git, make_upstream, member, seekable, snapshot_members, tar
from tests.fakes.cachew_server import CachewServer, Stored, running_server
from tests.fakes.client_parts import Parts


@pytest.fixture
def store() -> Iterator[CachewServer]:
    """Run a store, which calls its content otherwise than the server does."""
    with running_server() as state:
        yield state


def place(parts: Parts, store: CachewServer, body: bytes = BODY) -> tuple[Stored, Stored]:
    """Put an object on the server and into the store; return both."""
    here = parts.server.objects["/x"] = Stored(body, elsewhere=f"{store.url}/y?signature=1")
    there = store.objects["/y?signature=1"] = Stored(body, etag="parts-3")
    return here, there


def claimed(server: CachewServer) -> int:
    """Return how many bytes the server was told that it need not send."""
    return sum(int(get.headers.get("X-Cachew-Redirect", "0")) for get in server.requests("GET"))


def test_all_bytes_come_from_there(parts: Parts, store: CachewServer) -> None:
    """The ranges come from the address; nothing is shown there, and the server learns how much it need not send."""
    here, there = place(parts, store)
    here.late_headers = {"X-Cachew-Bundle-Url": "/b"}
    download = parts.downloads.open(parts.server.url + "/x")
    assert b"".join(map(bytes, download.pieces())) == BODY
    assert there.gets and here.gets <= 4
    assert claimed(parts.server) == len(BODY)
    shown = {name.lower() for seen in store.seen for name in seen.headers}
    assert not shown & {"authorization", "if-match", "x-cachew-redirect", "cookie"}
    assert {seen.headers["If-Match"] for seen in parts.server.requests("GET")} == {here.tag}
    assert download.headers["X-Cachew-Bundle-Url"] == "/b" and download.headers["ETag"] == here.tag


def test_an_address_that_has_expired(parts: Parts, store: CachewServer) -> None:
    """When the store refuses an address, the server is asked for another, and that is used."""
    here, there = place(parts, store)
    starts = range(0, len(BODY), PIECE)

    def expire(count: int) -> None:
        if count == 3:
            there.statuses = [403]
            here.elsewhere = f"{store.url}/y?signature=2"
            store.objects["/y?signature=2"] = Stored(BODY, etag="parts-3")

    there.after = expire
    location = Location(parts.http, f"{parts.server.url}/x", etag=here.tag, size=len(BODY), follows=True)
    location.expect(len(BODY))
    came = b""
    for start in starts:
        answer, _ = location.get(start, min(start + PIECE, len(BODY)))
        came += answer.read(PIECE)
        answer.close()
    assert came == BODY
    assert store.objects["/y?signature=2"].gets == len(starts) - 3
    assert here.gets == 2 and claimed(parts.server) == len(BODY)


@pytest.mark.parametrize("trouble", ["refuses", "another size", "is away", "breaks off"])
def test_a_store_of_no_use(parts: Parts, store: CachewServer, trouble: str) -> None:
    """Whatever is wrong with the store, the server sends the bytes."""
    here, there = place(parts, store)
    if trouble == "refuses":
        there.statuses = [403] * 100
    elif trouble == "another size":
        there.body = BODY + b"more"
    elif trouble == "is away":
        here.elsewhere = "http://127.0.0.1:9/y"
    else:
        there.cuts = [10] * 100
    assert fetch(parts) == BODY


def test_content_that_is_replaced_there(parts: Parts, store: CachewServer) -> None:
    """Ranges of two contents are not put together, though both have the size."""
    _, there = place(parts, store)
    there.cuts = [PIECE]

    def replace(count: int) -> None:
        there.etag, there.body = ("other-1", BODY[::-1]) if count == 2 else (there.etag, there.body)

    there.before = replace
    assert fetch(parts) == BODY


@pytest.mark.parametrize(
    "address", ["/x", "ftp://store/x", "http://user:word@127.0.0.1:9/x", "{server}/other", "http://[", "\x01"]
)
def test_addresses_that_are_not_followed(parts: Parts, address: str) -> None:
    """Only plain addresses of other servers are followed, since ours is shown the credential."""
    stored = parts.server.objects["/x"] = Stored(BODY)
    stored.elsewhere = address.format(server=parts.server.url)
    assert fetch(parts) == BODY
    assert {seen.path for seen in parts.server.seen} == {"/x"}


def test_the_end_of_an_object_comes_from_the_server(parts: Parts, store: CachewServer) -> None:
    """What is small is not worth a redirect."""
    _, there = place(parts, store)
    download = parts.downloads.open(parts.server.url + "/x")
    assert download.tail(100) == BODY[-100:]  # type: ignore[attr-defined]
    download.close()
    assert there.gets == 0


def test_damage_there_is_noticed(parts: Parts, store: CachewServer) -> None:
    """What comes from the store has to have the digest that the server has promised."""
    _, there = place(parts, store)
    there.body = BODY[:-1] + bytes([BODY[-1] ^ 1])
    with pytest.raises(DownloadCorrupt):
        fetch(parts)


@pytest.mark.parametrize("where", ["the table", "a frame"])
def test_damage_there_is_mended_by_the_server(parts: Parts, store: CachewServer, tmp_path: Path, where: str) -> None:
    """An archive that is damaged in the store is fetched again from the server, which looks at every block."""
    archive = seekable(tar([member("./file", BODY)]))
    _, there = place(parts, store, archive)
    at = len(archive) // 2 if where == "a frame" else len(archive) - 30
    there.body = archive[:at] + bytes([archive[at] ^ 1]) + archive[at + 1 :]
    restoring = DirectoryRestore(archives=parts.archives, unpack=choose_unpacker(None, exact_modes=True))
    restoring.restore(f"{parts.server.url}/x", tmp_path / "there")
    assert (tmp_path / "there/file").read_bytes() == BODY
    assert there.gets
    plain = [get.headers["Range"] for get in parts.server.requests("GET") if "X-Cachew-Redirect" not in get.headers]
    assert any(one.startswith("bytes=0-") for one in plain)


def test_an_archive_comes_whole_by_a_way_that_drops_ranges(parts: Parts, tmp_path: Path) -> None:
    """Though the server says that it takes them, a proxy before it may ask it for all."""
    parts.server.objects["/x"] = Stored(seekable(tar([member("./file", BODY)])), ignores_ranges=True)
    restoring = DirectoryRestore(archives=parts.archives, unpack=choose_unpacker(None, exact_modes=True))
    restoring.restore(f"{parts.server.url}/x", tmp_path / "there")
    assert (tmp_path / "there/file").read_bytes() == BODY
    assert parts.server.objects["/x"].gets == 2


def test_a_seed_comes_from_there(parts: Parts, store: CachewServer, tmp_path: Path) -> None:
    """What seeds a new repository comes from the store as well, and from the server when it is damaged there."""
    upstream = make_upstream(tmp_path / "upstream")
    git(upstream, "repack", "-a", "-d", "-q")
    archive = seekable(tar(snapshot_members(upstream, tmp_path / "scratch", origin="https://git.example/org/repo")))
    _, there = place(parts, store, archive)
    for name, body in (("sound", archive), ("damaged", archive[:200] + b"\0" * 40 + archive[240:])):
        there.body, there.gets = body, 0
        (tmp_path / name).mkdir()
        git(tmp_path / name, "init", "-q")
        repository = GitDirectory(os.fsencode(tmp_path / name / ".git"))
        seeding = Seeding(repository=repository, downloads=parts.downloads, sha256=None, threads=2)
        assert seeding.seed(f"{parts.server.url}/x") and there.gets
        git(tmp_path / name, "fsck", "--strict")


def test_ways_elsewhere_are_not_those_to_the_server(parts: Parts, store: CachewServer) -> None:
    """What the user has configured for the server, such as his certificate, is not used with the store."""
    place(parts, store)
    asked: list[str] = []

    def elsewhere(url: str) -> Connections:
        asked.append(url)
        return Connections()

    parts.downloads.http = Http(
        server=parts.server.url, authorization=None, connections=Connections(), elsewhere=elsewhere
    )
    assert fetch(parts) == BODY
    assert asked == [f"{store.url}/y?signature=1"]
