"""What is told of clients' commands."""

import pytest

from cachew.plumbing.pktline import DELIM, FLUSH, Packet, encode_all
from cachew.smarthttp.clientcommands import V2Fetch
from tests.fakes.parsing import parse_command

A = "a" * 40


def fetch(*arguments: str) -> V2Fetch:
    packets: list[Packet] = [b"command=fetch", DELIM, *(a.encode() for a in arguments), FLUSH]
    command = parse_command(encode_all(packets), "version=2")
    assert isinstance(command, V2Fetch)
    return command


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (("filter blob:none", "done"), "blob:none"),
        (("filter blob:none", "ofs-delta", "thin-pack", "done"), "blob:none"),
        (("done",), ""),
        (("filter blob:none",), ""),
        (("filter blob:none", "deepen 1", "done"), ""),
        (("filter blob:none", "deepen-since 5", "done"), ""),
        (("filter blob:none", f"have {A}", "done"), ""),
    ],
)
def test_a_filter_that_alone_leaves_something_out(arguments: tuple[str, ...], chosen: str) -> None:
    """Only of a clone whose depth is whole does the filter say which snapshot would have been of use."""
    assert fetch(f"want {A}", *arguments).filter_of_all == chosen


@pytest.mark.parametrize(
    ("arguments", "cheap"),
    [
        (("deepen 1", "done"), True),
        (("deepen 0999", "done"), True),
        (("deepen 1000", "done"), False),
        (("deepen " + "9" * 5000, "done"), False),
        (("deepen-since 5", "done"), False),
        (("deepen 1", f"have {A}", "done"), False),
        (("done",), False),
    ],
)
def test_what_costs_little(arguments: tuple[str, ...], cheap: bool) -> None:
    """A few commits do, for a client that has none; who names a depth beyond all history asks for all of it."""
    assert fetch(f"want {A}", *arguments).is_cheap is cheap
