"""What is made of a state directory before anything else."""

from pathlib import Path

from cachew.server.startup import make_directories
from cachew.server.statewatch import DIRECTORIES


def test_what_a_killed_server_was_writing_is_removed(tmp_path: Path) -> None:
    """Spools, whatever somebody has put there, and files that had not got their names yet; nothing that users keep."""
    make_directories(tmp_path)
    (tmp_path / "spools/answer").touch()
    (tmp_path / "spools/directory/within").mkdir(parents=True)
    (tmp_path / ".public.json.k3x9.unfinished").touch()
    (tmp_path / ".notes").touch()
    make_directories(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((".notes", *filter(None, DIRECTORIES)))
    assert not list((tmp_path / "spools").iterdir())
