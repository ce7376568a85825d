"""Two directories that change places."""

from pathlib import Path

import pytest

from cachew.client.directoryswap import _exchange_by_renaming, exchange


def test_directories_change_places(tmp_path: Path) -> None:
    """In one step where the system can, and with a moment in between where it can't."""
    for number, way in enumerate((exchange, _exchange_by_renaming)):
        first, second = tmp_path / f"first{number}", tmp_path / f"second{number}"
        for path in (first, second):
            path.mkdir()
            (path / path.name).touch()
        way(first, second)
        assert (first / second.name).exists() and (second / first.name).exists()
        with pytest.raises(OSError):
            way(first, tmp_path / "none")
        assert (first / second.name).exists()
