"""Keys, namespaces and durations."""

import hashlib
from datetime import datetime

import pytest

from cachew.cli.context import DAILY, HOURLY
from cachew.client.clienterrors import BadUsage
from cachew.client.keys import check_duration, check_namespace, digest, platform_prefix, prefixed

NOW = datetime(2026, 1, 2, 3, 4)


def test_digests_keys() -> None:
    """A key of 64 hex digits is itself, any other its SHA-256."""
    assert digest("AB" * 32) == "ab" * 32
    assert digest("node") == hashlib.sha256(b"node").hexdigest()
    assert digest("é" * 64) == hashlib.sha256(("é" * 64).encode()).hexdigest()


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "k"),
        ({"platform": "linux-amd64-"}, "linux-amd64-k"),
        ({"stamp": DAILY}, "2026-01-02-k"),
        ({"stamp": HOURLY, "platform": "linux-amd64-"}, "2026-01-02-03-linux-amd64-k"),
    ],
)
def test_prefixes(options: dict[str, str], key: str) -> None:
    """The date comes before the platform, as in the original."""
    given = {"platform": "", "stamp": ""} | options
    assert prefixed("k", now=NOW, **given) == key


@pytest.mark.parametrize(
    ("system", "machine", "prefix"),
    [
        ("linux", "x86_64", "linux-amd64-"),
        ("darwin", "arm64", "darwin-arm64-"),
        ("linux", "aarch64", "linux-arm64-"),
        ("win32", "AMD64", "windows-amd64-"),
        ("linux", "riscv64", "linux-riscv64-"),
    ],
)
def test_names_platforms_as_go_does(system: str, machine: str, prefix: str) -> None:
    """Platforms have Go's names, so that both clients share keys."""
    assert platform_prefix(system=system, machine=machine) == prefix


def test_checks_what_the_user_wrote() -> None:
    """Malformed namespaces and durations are refused."""
    assert check_namespace("node-modules_2") == "node-modules_2"
    assert [check_duration(text) for text in ("1h30m", "90s", "1.5h", "20ms")] == ["1h30m", "90s", "1.5h", "20ms"]
    for namespace in ("", "-x", "a/b", "a b", "a\n"):
        with pytest.raises(BadUsage):
            check_namespace(namespace)
    for duration in ("", "5", "1d", "h", "1h 5m"):
        with pytest.raises(BadUsage):
            check_duration(duration)
