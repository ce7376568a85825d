"""The object API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cachew.client.clienterrors import BadUsage, ClientError, NotCached, ServerRefused
from cachew.client.keys import digest
from cachew.client.objectapi import Objects, visible_headers
from tests.fakes.client_parts import Parts

KEY = digest("key")
PATH = f"/api/v1/object/ns/{KEY}"


@pytest.fixture
def objects(parts: Parts) -> Objects:
    return Objects(http=parts.http)


def test_stores_streams(parts: Parts, objects: Objects) -> None:
    """An upload carries its headers and its time to live."""
    objects.put("ns", "key", iter([b"a", b"b"]), headers={"X-Mine": "1"}, ttl="1h30m")
    assert parts.server.objects[PATH].body == b"ab"
    (seen,) = parts.server.seen
    assert (seen.headers["Time-To-Live"], seen.headers["X-Mine"]) == ("1h30m", "1")


def test_stores_files(parts: Parts, objects: Objects, tmp_path: Path) -> None:
    """A file is sent as it is read."""
    (tmp_path / "file").write_bytes(b"x" * 300_000)
    with open(tmp_path / "file", "rb") as file:
        objects.put("ns", KEY, file, headers={"Content-Length": "300000"})
    assert parts.server.objects[PATH].body == b"x" * 300_000
    assert "Transfer-Encoding" not in parts.server.seen[0].headers


def test_a_broken_upload_stores_nothing(parts: Parts, objects: Objects) -> None:
    """When making the content fails, the server sees the upload break off."""

    def content() -> Iterator[bytes]:
        yield b"half"
        raise ClientError("no more")

    with pytest.raises(ClientError, match="no more"):
        objects.put("ns", "key", content(), headers={})
    assert PATH not in parts.server.objects


def test_stat_and_delete(parts: Parts, objects: Objects) -> None:
    """An object that was stored is there until it is deleted."""
    objects.put("ns", "key", iter([b"abc"]), headers={})
    assert objects.stat("ns", "key")["Content-Length"] == "3"
    objects.delete("ns", "key")
    for missing in (objects.stat, objects.delete):
        with pytest.raises(NotCached):
            missing("ns", "key")


def test_lists_and_counts(parts: Parts, objects: Objects) -> None:
    """Namespaces and numbers come as the server has them; other answers are errors."""
    parts.server.answers["/api/v1/namespaces"] = (200, ["a", "b"])
    parts.server.answers["/api/v1/stats"] = (200, {"objects": 1, "size": 2, "capacity": 3})
    assert objects.namespaces() == ["a", "b"]
    assert objects.stats() == {"objects": 1, "size": 2, "capacity": 3}
    parts.server.answers["/api/v1/stats"] = (200, ["x"])
    parts.server.answers["/api/v1/namespaces"] = (200, {"x": 1})
    for call in (objects.stats, objects.namespaces):
        with pytest.raises(ClientError):
            call()
    parts.server.answers["/api/v1/stats"] = (200, b"[" * 100_000)
    with pytest.raises(ClientError, match="did not answer with JSON"):
        objects.stats()
    parts.server.answers["/api/v1/stats"] = (401, {})
    with pytest.raises(ServerRefused, match="401"):
        objects.stats()


def test_refuses_malformed_namespaces(objects: Objects) -> None:
    """A namespace that would change the path is refused."""
    with pytest.raises(BadUsage):
        objects.stat("../x", "key")


def test_shows_the_object_s_headers_only() -> None:
    """Headers of the transport are left out."""
    assert visible_headers({"Date": "now", "Transfer-Encoding": "chunked", "X-Mine": "1"}) == {"X-Mine": "1"}
