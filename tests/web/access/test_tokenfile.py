"""The admin token's file: made once, read again while the server runs, and never taken for good when it is damaged."""

import stat
from pathlib import Path

import pytest

from cachew.web.access.tokenfile import TokenFile, TokenFileError
from tests.functional.loglines import listening
from tests.web.adminfront import TOKEN


def test_the_token_is_made_once_and_private(tmp_path: Path) -> None:
    """The token is generated at the first start, readable by nobody else, and stays the same."""
    token = TokenFile(None, tmp_path)()
    assert len(token) >= 32
    assert TokenFile(None, tmp_path)() == token
    assert stat.S_IMODE((tmp_path / "admin-token").stat().st_mode) == 0o600


def test_a_configured_token_file_must_be_usable(tmp_path: Path) -> None:
    """A token file that is missing or holds next to nothing is refused."""
    file = tmp_path / "token"
    with pytest.raises(TokenFileError, match="can't be read"):
        TokenFile(file, tmp_path)()
    file.write_text("short\n")
    with pytest.raises(TokenFileError, match="shorter than"):
        TokenFile(file, tmp_path)()
    file.write_text(f"{TOKEN}\n")
    assert TokenFile(file, tmp_path)() == TOKEN


@pytest.mark.parametrize("damage", [b"", b"abc\n", b"\xff" * 40, None])
def test_a_damaged_token_of_its_own_keeps_no_server_from_starting(damage: bytes | None, tmp_path: Path) -> None:
    """It is set aside, said so, and a new one is made; what is left of the old one is no token."""
    file = tmp_path / "admin-token"
    for _ in range(2):
        if damage is None:
            file.mkdir()
        else:
            file.write_bytes(damage)
        with listening() as log:
            token = TokenFile(None, tmp_path)()
        assert len(token) >= 32 and TokenFile(None, tmp_path)() == token
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert log.count("a new one was made") == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["admin-token", "admin-token.damaged"]
        file.unlink()


@pytest.mark.parametrize("ours", [True, False])
def test_a_truncated_token_file_changes_nothing_but_the_log(ours: bool, tmp_path: Path) -> None:
    """The old token goes on, said once, until a good one is in the file; one of the server's own is written again when
    nobody has put a good one there between two looks."""
    file = tmp_path / "admin-token"
    file.write_text(f"{TOKEN}\n")
    token = TokenFile(None if ours else file, tmp_path)
    with listening() as log:
        for content in ("", "abc", "abc"):
            file.write_text(content)
            token.look()
            assert token() == TOKEN
        assert (file.read_text() == f"{TOKEN}\n") is ours
        assert log.count("is shorter than 16 characters") == 1 and log.count("until it is replaced") == 1
        file.unlink()
        token.look()
        assert token() == TOKEN and file.exists() is ours
        file.write_text("another token that is long\n")
        token.look()
        assert token() == "another token that is long" and log.count("was replaced") == 1


def test_a_token_that_can_not_be_written_again_is_good_all_the_same(tmp_path: Path) -> None:
    """Where its directory is gone the token of before lets in, which is said once."""
    state = tmp_path / "state"
    state.mkdir()
    token = TokenFile(None, state)
    before = token()
    (state / "admin-token").unlink()
    state.rmdir()
    with listening() as log:
        for _ in range(3):
            token.look()
    assert token() == before and log.count("goes on until it is replaced") == 1
    state.mkdir()
    token.look()
    assert (state / "admin-token").read_text() == f"{before}\n"


def test_what_is_wrong_is_said_again_when_it_comes_back(tmp_path: Path) -> None:
    """A file that was good in between and fails in the same way is told anew."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    token = TokenFile(file, tmp_path)
    with listening() as log:
        for content in ("short", TOKEN, "short"):
            file.write_text(content)
            token.look()
    assert token() == TOKEN and log.count("is shorter than") == 2


@pytest.mark.parametrize("length", [15, 16])
def test_where_a_token_is_long_enough(length: int, tmp_path: Path) -> None:
    """Sixteen characters are, without the line's end and the blanks around them."""
    file = tmp_path / "token"
    file.write_text(f"  {'t' * length} \n")
    if length < 16:
        with pytest.raises(TokenFileError):
            TokenFile(file, tmp_path)
    else:
        assert TokenFile(file, tmp_path)() == "t" * length
