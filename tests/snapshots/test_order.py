"""What people are told that something is that is being made."""

import pytest

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.snapshots.order import Order, title_of
from cachew.snapshots.variants import FILTERS, LFS, Variant

INSTANCE = Instance(Identity("git.example", "org/repo"), "0123456789abcdef" * 2)


async def nothing(*_: object) -> None:
    """Make nothing."""


@pytest.mark.parametrize(
    ("variant", "title"),
    [
        (Variant(), "snapshot:git.example/org/repo"),
        (Variant(LFS), "lfs-snapshot:git.example/org/repo"),
        (Variant(filter=FILTERS[0]), f"snapshot:git.example/org/repo filter={FILTERS[0]}"),
        (Variant(ref="refs/heads/x"), "snapshot:git.example/org/repo ref=refs/heads/x"),
    ],
)
def test_people_read_no_id_of_an_instance(variant: Variant, title: str) -> None:
    """Whoever knows it could ask for what is kept under it."""
    key = variant.key(INSTANCE)
    assert INSTANCE.id in key
    assert title_of(key) == Order(key=key, owner="", make=nothing).title == title


def test_an_object_id_in_a_name_stays() -> None:
    """What is longer, or no word of its own, is no instance's id."""
    for text in (f"bundle {'a' * 40}", f"bundle:{'a' * 32}", f"bundle {'A' * 32}"):
        assert title_of(text) == text
