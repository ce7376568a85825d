"""What git's remote helper notes of what git says."""

import pytest

from cachew.client.helperoptions import HelperOptions, becomes_stream, begins_fetch, only_lists, sub_command


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([], ""),
        (["option progress true", "option verbosity 1"], ""),
        (["option filter blob:none"], "blob:none"),
        (["option filter tree:0"], None),
        (["option filter blob:limit=1k"], None),
        (["option depth 1"], None),
        (["option deepen-since 2020-01-01"], None),
        (["option deepen-not v1"], None),
        (["option deepen-relative false"], ""),
        (["option filter blob:none", "option depth 3"], None),
    ],
)
def test_which_snapshot_fits(lines: list[str], wanted: str | None) -> None:
    """A depth, or a filter that no snapshot has, leaves everything to git."""
    options = HelperOptions()
    for line in lines:
        options.note(line.encode())
    assert options.snapshot_filter == wanted


def test_how_much_is_said() -> None:
    """Progress and verbosity are what git says last."""
    options = HelperOptions()
    assert (options.progress, options.verbosity) == (False, 1)
    for line in (b"option progress true", b"option verbosity 0", b"capabilities", b"option"):
        options.note(line)
    assert (options.progress, options.verbosity) == (True, 0)


@pytest.mark.parametrize(
    ("line", "begins"),
    [
        (b"stateless-connect git-upload-pack", True),
        (b"stateless-connect git-upload-archive", False),
        (b"fetch 1234 refs/heads/main", True),
        (b"list", False),
        (b"list for-push", False),
        (b"push refs/heads/main:refs/heads/main", False),
    ],
)
def test_what_begins_a_fetch(line: bytes, begins: bool) -> None:
    """Only what brings objects is preceded by a seed."""
    assert begins_fetch(line) is begins


def test_what_is_followed_by_no_lines() -> None:
    """A service that git talks to by itself, whatever that is: ``git archive --remote`` has one of its own."""
    assert all(map(becomes_stream, (b"stateless-connect git-upload-archive", b"connect git-upload-pack")))
    assert not any(map(becomes_stream, (b"list", b"option depth 1", b"capabilities", b"")))


@pytest.mark.parametrize(
    ("words", "command", "lists"),
    [
        ("git ls-remote x", b"ls-remote", True),
        ("git -c a=b -C ls-remote --git-dir=x clone ls-remote", b"clone", False),
        ("git --git-dir y fetch", b"fetch", False),
        ("git remote show origin", b"remote", True),
        ("git", b"", False),
    ],
)
def test_the_command_that_git_was_given(words: str, command: bytes, lists: bool) -> None:
    """It is the first word that belongs to no option."""
    found = sub_command(words.encode().split(b" "))
    assert found == command
    assert only_lists(found) is lists
