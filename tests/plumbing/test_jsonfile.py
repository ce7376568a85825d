"""Small files that are whole or not there."""

import json
from pathlib import Path

from cachew.plumbing.jsonfile import write_json


def test_a_directory_in_its_place_is_set_aside(tmp_path: Path) -> None:
    """Whatever somebody has put there keeps no server from remembering, once or again."""
    file = tmp_path / "known.json"
    for number in range(2):
        file.mkdir()
        (file / "something").touch()
        write_json(file, {"number": number})
        assert json.loads(file.read_text()) == {"number": number}
        assert sorted(path.name for path in tmp_path.iterdir()) == ["known.json", "known.json.damaged"]
        file.unlink()
