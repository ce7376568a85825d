"""What may be extracted of an archive of a directory."""

import pytest

from cachew.client.archiverules import DirectoryRules, with_mode
from cachew.client.clienterrors import ArchiveRefused
from cachew.client.tarheader import EntryKind, TarEntry


def file(path: str, mode: int = 0o644) -> TarEntry:
    """Return a file."""
    return TarEntry(path.encode(), EntryKind.FILE, mode, 0, 0)


def directory(path: str, mode: int = 0o755) -> TarEntry:
    """Return a directory."""
    return TarEntry(path.encode(), EntryKind.DIRECTORY, mode, 0, 0)


def link(path: str, target: str = "/etc") -> TarEntry:
    """Return a symbolic link."""
    return TarEntry(path.encode(), EntryKind.SYMLINK, 0o777, 0, 0, target.encode())


def hard_link(path: str, target: str, mode: int = 0o644) -> TarEntry:
    """Return a hard link."""
    return TarEntry(path.encode(), EntryKind.HARDLINK, mode, 0, 0, target.encode())


@pytest.mark.parametrize(
    "entry",
    [file("link/x"), file("link/a/b"), directory("link/a"), file("link"), link("link"), hard_link("x", "link/passwd")],
)
def test_nothing_goes_through_a_link(entry: TarEntry) -> None:
    """Neither a file below it, however deep, nor another one in its place, nor a hard link to what lies behind it."""
    rules = DirectoryRules()
    assert rules.judge(link("link")) == link("link")
    with pytest.raises(ArchiveRefused, match="link"):
        rules.judge(entry)


def test_a_link_that_comes_later_counts_from_then_on() -> None:
    """What was safe before it is not any more, though it lies in the same directory as the last file."""
    rules = DirectoryRules()
    assert rules.judge(file("a/b/one")) and rules.judge(file("a/b/two"))
    assert rules.judge(link("other")) and rules.judge(file("a/b/three"))
    assert rules.judge(link("a/b"))
    with pytest.raises(ArchiveRefused, match="through the link"):
        rules.judge(file("a/b/four"))


def test_links_beside_are_no_matter() -> None:
    """Nor are names that only begin alike."""
    rules = DirectoryRules()
    rules.judge(link("a/link"))
    for path in ("a/linked", "a/link2/x", "b/link", "a/lin"):
        assert rules.judge(file(path)) is not None


@pytest.mark.parametrize(("first", "second"), [("A", "a/x"), ("ß", "SS/x"), ("e\u0301", "\u00e9/x")])
def test_names_that_are_one_to_the_file_system(first: str, second: str) -> None:
    """Where it folds case a link is found under each of its spellings; elsewhere these are different names."""
    rules = DirectoryRules(folds_case=True)
    rules.judge(link(first))
    with pytest.raises(ArchiveRefused):
        rules.judge(file(second))
    exact = DirectoryRules()
    exact.judge(link(first))
    assert exact.judge(file(second)) is not None


def test_the_root_stays_as_it_is() -> None:
    """It is no entry; an archive whose root is something else is refused."""
    rules = DirectoryRules()
    assert rules.judge(directory("", 0o000)) is None and rules.closed_directories == {}
    with pytest.raises(ArchiveRefused, match="root"):
        rules.judge(file(""))


@pytest.mark.parametrize("entry", [file("x", 0o6755), directory("x", 0o7755), hard_link("x", "y", 0o4755)])
def test_set_id_bits_go(entry: TarEntry) -> None:
    """And the sticky bit, of whatever may have them."""
    found = DirectoryRules().judge(entry)
    assert found is not None and found.mode == 0o755


def test_directories_are_open_until_all_is_in_them() -> None:
    """What they are to be in the end is noted, of the last entry of their name."""
    rules = DirectoryRules()
    found = rules.judge(directory("closed", 0o555))
    assert found is not None and found.mode == 0o755 and rules.closed_directories == {b"closed": 0o555}
    rules.judge(directory("closed", 0o700))
    assert rules.closed_directories == {}


@pytest.mark.parametrize("target", ["../x", "/etc/passwd", "a/../../x"])
def test_hard_links_stay_within(target: str) -> None:
    """A name that leads out is refused."""
    with pytest.raises(ArchiveRefused):
        DirectoryRules().judge(hard_link("x", target))


def test_a_mode_that_is_right_costs_nothing() -> None:
    """The same entry goes on."""
    entry = file("x")
    assert with_mode(entry, 0o644) is entry and with_mode(entry, 0o600).mode == 0o600
