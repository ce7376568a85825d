"""The names of an archive's entries."""

import pytest

from cachew.client.clienterrors import ArchiveRefused
from cachew.client.entrynames import normal_path, show


def test_names_are_relative_paths() -> None:
    """The same place has one name, the root none."""
    assert [normal_path(name) for name in (b"./a//b/./c/", b"a", b"./", b"")] == [b"a/b/c", b"a", b"", b""]


@pytest.mark.parametrize("name", [b"/a", b"..", b"a/../b", b"a\0b"])
def test_names_that_lead_elsewhere_are_refused(name: bytes) -> None:
    """So are names that a program in C would read to their NUL."""
    with pytest.raises(ArchiveRefused):
        normal_path(name)


def test_names_are_shown_safely() -> None:
    """What a terminal would act upon is written out, and nothing is shown without end."""
    assert show(b"a\x1b\xff") == r"'a\x1b\\xff'"
    assert len(show(b"x" * 10_000)) == 202
