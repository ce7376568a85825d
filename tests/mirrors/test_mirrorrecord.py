"""The file in a mirror that says what it is."""

import json
from pathlib import Path

import pytest

from cachew.mirrors.identity import Identity
from cachew.mirrors.mirrorrecord import RECORD, MirrorRecord, read

WHAT = {"repository": "git.example/org/repo", "object-format": "sha1", "instance": "1", "generation": "2"}


@pytest.mark.parametrize("name", ["git.example/org/repo", "git.example:8443/a%20b/%2Dc", "git.example/x/\u00e4"])
@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_what_was_written_is_read(tmp_path: Path, name: str, object_format: str) -> None:
    """Whatever the repository's name; a record takes the place of an earlier one."""
    record = MirrorRecord(Identity.from_name(name), object_format, "instance", "generation")
    MirrorRecord(Identity.from_name(name), object_format, "", "").write(tmp_path)
    record.write(tmp_path)
    assert read(tmp_path) == record and [path.name for path in tmp_path.iterdir()] == [RECORD]


def test_records_of_earlier_versions(tmp_path: Path) -> None:
    """What was called the instance then tells mirrors from each other; whose it is nobody knows."""
    old = {name: value for name, value in WHAT.items() if name != "generation"}
    (tmp_path / RECORD).write_text(json.dumps(old))
    assert read(tmp_path) == MirrorRecord(Identity.from_name("git.example/org/repo"), "sha1", "", "1")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"5", b"\xff", b"{}", b'{"repository": null}',
        *(
            json.dumps(WHAT | change).encode()
            for change in (
                {"repository": "git.example"}, {"repository": ""}, {"repository": "git.example//x"},
                {"repository": "git.example/../x"}, {"repository": 5},
                {"object-format": "md5"}, {"object-format": None},
            )
        ),
    ],
)  # fmt: skip
def test_a_record_that_is_none(tmp_path: Path, content: bytes) -> None:
    """It says nothing, and keeps nobody from looking at the other mirrors."""
    (tmp_path / RECORD).write_bytes(content)
    assert read(tmp_path) is None


def test_no_record_and_one_that_can_not_be_read(tmp_path: Path) -> None:
    """A directory without one is no mirror; of one whose record can't be read nobody knows."""
    assert read(tmp_path) is None and read(tmp_path / "nowhere") is None
    (tmp_path / "file").touch()
    assert read(tmp_path / "file") is None
    (tmp_path / RECORD).mkdir()
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
