"""Which fetches share an answer."""

import pytest

from cachew.plumbing.pktline import DELIM, FLUSH, Packet, encode_all
from cachew.smarthttp.clientcommands import V0Request, V2Fetch
from cachew.smarthttp.keptpacks import mark, pack_key
from tests.fakes.parsing import parse_command

A, B = "a" * 40, "b" * 40
REFS = {"refs/heads/main": A, "refs/tags/v1": B}
NEW_HEAD = REFS | {"refs/heads/main": B}
NEW_TAG = REFS | {"refs/tags/v2": A}


def fetch(*arguments: str, agent: str = "git/1", session: str = "1") -> V2Fetch:
    packets: list[Packet] = [b"command=fetch", f"agent={agent}".encode(), f"session-id={session}".encode(), DELIM]
    command = parse_command(encode_all([*packets, *(a.encode() for a in arguments), FLUSH]), "version=2")
    assert isinstance(command, V2Fetch)
    return command


def v0(first: str, *rest: str) -> V0Request:
    packets: list[Packet] = [f"want {A} {first}".encode(), *(r.encode() for r in rest), FLUSH, b"done"]
    command = parse_command(encode_all(packets), None)
    assert isinstance(command, V0Request)
    return command


def key(command: V2Fetch | V0Request, refs: dict[str, str] = REFS, repository: str = "h/r") -> str:
    return pack_key(repository, command, lambda prefix: mark(refs, prefix))


def test_who_asks_does_not_count() -> None:
    """Agent, session and the order of the wants make no difference, in v2 and v0."""
    one = fetch(f"want {A}", f"want {B}", "done")
    two = fetch(f"want {B}", f"want {A}", f"want {A}", "done", agent="jgit", session="2")
    assert key(one) == key(two)
    assert len(key(one)) == 64
    assert key(v0("ofs-delta agent=a session-id=1", f"want {B}")) == key(v0("ofs-delta session-id=2", f"want {B}"))


@pytest.mark.parametrize(
    "arguments",
    [
        (f"want {B}", "done"),
        (f"want {A}",),
        (f"want {A}", "done", "ofs-delta"),
        (f"want {A}", "done", "filter blob:none"),
        (f"want {A}", "done", "deepen 1"),
        (f"want {A}", f"have {B}", "done"),
        (f"want {A}", f"shallow {B}", "done"),
    ],
)
def test_what_is_asked_counts(arguments: tuple[str, ...]) -> None:
    """Any other difference makes another key."""
    assert key(fetch(*arguments)) != key(fetch(f"want {A}", "done"))


def test_repositories_share_nothing() -> None:
    """The same command has different keys in different repositories and protocols."""
    command = fetch(f"want {A}", "done")
    assert key(command) != key(command, repository="h/s")
    assert key(v0("")) != key(command)


def test_lines_can_not_be_shifted() -> None:
    """Parts of the key are framed, so that no repository's name can pose as a want."""
    assert key(fetch("filter a", "filter b")) != key(fetch("filter afilter b"))


def test_refs_count_where_they_are_looked_at() -> None:
    """New refs change the key of include-tag (tags only), deepen-not and a filter's blob, and of nothing else."""
    plain, tags, shallow, sparse = (
        fetch(f"want {A}", "done", *more)
        for more in ([], ["include-tag"], ["deepen-not refs/heads/main"], ["filter sparse:oid=main:x"])
    )
    assert key(plain) == key(plain, NEW_TAG) == key(plain, NEW_HEAD)
    assert key(tags) == key(tags, NEW_HEAD) != key(tags, NEW_TAG)
    assert key(shallow) != key(shallow, NEW_HEAD)
    assert key(sparse) != key(sparse, NEW_HEAD)
    assert key(v0("include-tag")) != key(v0("include-tag"), NEW_TAG)
