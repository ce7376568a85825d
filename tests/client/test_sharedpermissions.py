"""The permissions of a shared repository's files."""

import pytest

from cachew.client.sharedpermissions import shared_umask


@pytest.mark.parametrize(
    ("setting", "umask", "expected"),
    [
        ("umask", 0o077, 0o077),
        ("false", 0o022, 0o022),
        ("0", 0o027, 0o027),
        ("group", 0o077, 0o007),
        ("true", 0o022, 0o002),
        ("1", 0o002, 0o002),
        ("Everybody", 0o077, 0o002),
        ("2", 0o027, 0o002),
        ("0640", 0o022, 0o027),
        ("0600", 0o002, 0o077),
        ("0664", 0o077, 0o002),
        ("660", 0o022, 0o007),
    ],
)
def test_what_git_would_let_others_do(setting: str, umask: int, expected: int) -> None:
    """Words add to what the user's own umask allows, and a number counts instead of it."""
    assert shared_umask(setting, umask) == expected
