"""What people are told of what went wrong."""

import pytest

from cachew.client.clienterrors import ArchiveRefused, FileDamaged, GitFailed, full_disk, no_space_advice, tar_failed

FULL = "No space left on device"


@pytest.mark.parametrize(
    ("stderr", "told"),
    [
        ("", "git fetch failed: without a word"),
        ("\n \n", "git fetch failed: without a word"),
        ("fatal: no\n", "git fetch failed: fatal: no"),
        ("one\n\ntwo\nthree\n\nfour\n", "git fetch failed: two / three / four"),
    ],
)
def test_git_is_quoted_by_its_last_words(stderr: str, told: str) -> None:
    """Three lines of them; all of it is there for who wants to know."""
    error = GitFailed("fetch", stderr)
    assert (str(error), error.command, error.stderr) == (told, "fetch", stderr)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"tar: x: Cannot write: {FULL}\ntar: Exiting", f"the files do not fit: {FULL}"),
        ("tar: x: Cannot write: Disk quota exceeded", "the files do not fit: Disk quota exceeded"),
        ("tar: x: Wrote only 512 of 10240 bytes", f"the files do not fit: {FULL}"),
    ],
)
def test_a_full_disk_is_told_as_one(said: str, told: str) -> None:
    """In whichever of tar's words, with advice."""
    error = tar_failed(2, said)
    assert (str(error), error.advice) == (told, "Free some space and run the command again.")


def test_tars_many_lines_are_one() -> None:
    """The first, cut where a name is endless, and how many more there were."""
    assert str(tar_failed(2, "tar: a: bad\n\ntar: b: bad\n")) == "tar failed (exit 2): tar: a: bad (and 1 lines more)"
    assert str(tar_failed(None, "")) == "tar failed (exit None): without a word"
    assert len(str(tar_failed(2, "x" * 10_000))) < 600 and tar_failed(2, "bad").advice == ""


def test_advice_is_for_full_disks_only() -> None:
    """Other words of the system get none."""
    assert full_disk(f"[Errno 28] {FULL}") == FULL and full_disk("Permission denied") == ""
    assert no_space_advice("Permission denied") == ""


def test_a_refused_archive_names_its_reason() -> None:
    """And a damaged file its name."""
    refused = ArchiveRefused("x leads out")
    assert refused.reason == "x leads out" and "x leads out" in str(refused) and "git" in refused.advice
    assert FileDamaged("a/b").path == "a/b" and "a/b" in str(FileDamaged("a/b"))
