"""Patterns that stand for many repositories of one owner."""

import pytest

from cachew.config.namepatterns import NamePattern, is_pattern, pattern_of
from cachew.plumbing.errors import BadPath


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        ("h/org/*", ["org/a", "ORG/a.b"], ["org/a/b", "org", "organ/a", "or/a"]),
        ("h/org/web-*", ["org/web-", "org/web-a"], ["org/web", "org/WEB-a", "org/a-web-b", "org/web-a/b"]),
        ("h/org/a*b*c", ["org/abc", "org/axbxc", "org/abbc"], ["org/acb", "org/abcd", "org/xabc"]),
        ("h/org/a.b*", ["org/a.b"], ["org/axb"]),
        ("h/top/sub/*", ["top/sub/a", "Top/Sub/a"], ["top/a", "top/sub/x/a", "x/top/sub/a"]),
        ("h/top/**", ["top/a", "top/sub/a", "top/sub/x/a"], ["top", "topper/a"]),
    ],
)
def test_which_repositories_are_meant(text: str, matching: list[str], others: list[str]) -> None:
    """Forges may write an owner in another case, but not a name; only ** reaches into the groups of a group."""
    pattern = pattern_of(text)
    assert [path for path in matching + others if pattern.matches(path)] == matching


def test_a_pattern_is_read() -> None:
    """Hosts are in lower case, owners and names as they are written."""
    assert pattern_of("H.Example:8443/Top/Sub/Web*") == NamePattern("h.example:8443", "Top/Sub", "Web*")
    assert pattern_of("h/top/**").below and not pattern_of("h/top/*").below
    assert is_pattern("h/org/*") and not is_pattern("h/org/repo")


@pytest.mark.parametrize("text", ["*", "h/*", "*/org/x", "h/o*/x", "h/*/x", "h//*", "h/org/", "h/org/a**", "h/org/***"])
def test_what_is_no_pattern(text: str) -> None:
    """Only what comes after the last slash may stand for many, and an owner is needed."""
    with pytest.raises(BadPath):
        pattern_of(text)
