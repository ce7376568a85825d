"""Durations and sizes are read as people write them, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing.units import format_size, parse_duration, parse_size


def format_duration(seconds: float) -> str:
    """Write a duration as :func:`parse_duration` reads it, to the millisecond: ``1h30m``, ``250ms``."""
    sign = "-" if seconds < 0 else ""
    whole, milliseconds = divmod(round(abs(seconds) * 1000), 1000)
    parts = [(whole // 3600, "h"), (whole // 60 % 60, "m"), (whole % 60, "s"), (milliseconds, "ms")]
    return sign + ("".join(f"{count}{unit}" for count, unit in parts if count) or "0s")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("15m", 900.0),
        ("2h", 7200.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("250ms", 0.25),
        ("1h0m0.5s", 3600.5),
        ("10us", 1e-5),
        ("10µs", 1e-5),
        ("7ns", 7e-9),
        ("0", 0.0),
        ("0s", 0.0),
        ("-1m", -60.0),
        ("+1m", 60.0),
    ],
)
def test_reads_go_durations(text: str, seconds: float) -> None:
    """A duration in any of Go's forms gives its seconds."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "1d", "h", "1h 30m", "1x", "s1", "--1s", "1e3s", "٣s", "inf", "1h30", "."])
def test_refuses_other_durations(text: str) -> None:
    """What Go would not read as a duration is refused with an example of what is."""
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_refuses_durations_beyond_gos() -> None:
    """A duration of centuries is refused, as Go refuses it."""
    with pytest.raises(ValueError, match="too long"):
        parse_duration("99999999999h")


@given(st.integers(min_value=0, max_value=10**12))
def test_durations_survive_a_round_trip(milliseconds: int) -> None:
    """A duration that is written and read again is the same to the millisecond."""
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("1B", 1),
        ("500MB", 500 * 10**6),
        ("500 MB", 500 * 10**6),
        ("20GiB", 20 * 2**30),
        ("64KiB", 65536),
        ("1kB", 1000),
        ("1.5GB", 1_500_000_000),
        ("2TB", 2 * 10**12),
    ],
)
def test_reads_sizes(text: str, size: int) -> None:
    """A size with a decimal or binary unit gives its bytes."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1mb", "1 G", "1GBs", "1e6", "ten"])
def test_refuses_other_sizes(text: str) -> None:
    """What is no size is refused with an example of one."""
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1200, "1.2 kB"), (318_000_000, "318 MB"), (999_900_000, "1.0 GB"), (5e17, "500 PB")],
)
def test_formats_sizes_for_people(size: float, text: str) -> None:
    """A number of bytes is written short."""
    assert format_size(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (5400, "1h30m"), (0.25, "250ms"), (-60, "-1m")])
def test_formats_durations(seconds: float, text: str) -> None:
    """A duration is written as its nonzero parts."""
    assert format_duration(seconds) == text
