"""Links between objects: when it is certain that they hold."""

from pathlib import Path

import pytest

from cachew.mirrors.links import Links


def test_what_comes_and_is_checked(tmp_path: Path) -> None:
    """While something comes nothing is certain, afterwards it is; a server that is killed in between leaves word."""
    links = Links(directory=tmp_path)
    assert links.hold
    with links.uncertain(checked=True):
        assert not links.hold and not Links(directory=tmp_path).hold
        with links.uncertain(checked=True):
            pass
        assert not links.hold
    assert links.hold and Links(directory=tmp_path).hold


@pytest.mark.parametrize("checked", [True, False])
def test_what_breaks_off_or_is_not_checked(tmp_path: Path, checked: bool) -> None:
    """It leaves a doubt beyond a restart, which goes only with all that no ref reaches."""
    links = Links(directory=tmp_path)
    with links.uncertain(checked=True):
        try:
            with links.uncertain(checked=checked):
                if checked:
                    raise ValueError
        except ValueError:
            pass
    assert not links.hold
    again = Links(directory=tmp_path)
    assert not again.hold
    with again.uncertain(checked=True):
        pass
    assert not again.hold
    again.restored()
    assert again.hold and Links(directory=tmp_path).hold


def test_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    """What can't be written down is known as long as the server runs."""
    links = Links(directory=tmp_path / "gone")
    with links.uncertain(checked=False):
        pass
    assert not links.hold
