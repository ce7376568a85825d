"""Files of objects on their way into archives."""

from pathlib import Path

from cachew.snapshots.packed import link_tree


def test_what_is_still_being_written_is_left_out(tmp_path: Path) -> None:
    """Neither git's temporary files nor whole directories of objects that have not all come yet."""
    for name in ("pack/pack-1.pack", "pack/tmp_pack_x", "tmp_apart-1/pack/pack-2.pack", "tmp_apart-1/ab/cd"):
        (tmp_path / "objects" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "objects" / name).touch()
    link_tree(tmp_path / "objects", tmp_path / "copy")
    assert [str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*")] == [
        "pack",
        "pack/pack-1.pack",
    ]
