"""What is removed of mirrors."""

from pathlib import Path

import pytest

from cachew.mirrors.leftovers import remove_graph, remove_leftovers, remove_tree


def test_leftovers_and_nothing_else(tmp_path: Path) -> None:
    """Locks and temporary files go; refs, objects and LFS objects stay, whatever their names."""
    stray = [
        "config.lock", "packed-refs.new", "refs/heads/a/main.lock", "objects/pack/tmp_pack_x", "objects/pack/.tmp-1-x",
        "objects/pack/pack-1.keep", "objects/pack/multi-pack-index.lock", "objects/ab/tmp_obj_x",
        "objects/info/commit-graphs/tmp_graph_x",
    ]  # fmt: skip
    real = [
        "config", "packed-refs", "HEAD", "refs/heads/tmp_x", "refs/heads/.tmp-x", "refs/heads/x.keep", "refs/tags/new",
        "objects/pack/pack-1.pack", "objects/pack/pack-1.idx", "objects/ab/" + "c" * 38, "objects/info/packs",
        "lfs/objects/ab/tmp_x", "lfs/x.lock",
    ]  # fmt: skip
    for name in stray + real:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == sorted(real)
    remove_leftovers(tmp_path / "nowhere")


def test_directories_are_not_left_through_links(tmp_path: Path) -> None:
    """What a link leads to is not the mirror's; a directory with the name of a lock goes with all that is in it."""
    outside, mirror = tmp_path / "outside", tmp_path / "mirror"
    for path in (outside, mirror / "refs/heads", mirror / "objects", mirror / "refs/x.lock"):
        path.mkdir(parents=True)
    (outside / "main.lock").touch()
    (mirror / "refs/x.lock/file").touch()
    for place in ("refs/heads/link", "objects/link", "gone.lock"):
        (mirror / place).symlink_to(outside)
    remove_leftovers(mirror)
    assert (outside / "main.lock").exists() and (mirror / "refs/heads/link").is_symlink()
    assert sorted(path.name for path in mirror.rglob("*")) == ["heads", "link", "link", "objects", "refs"]


@pytest.mark.parametrize("split", [False, True])
def test_a_commit_graph_goes_whole(tmp_path: Path, split: bool) -> None:
    """In one file or in several; what else is known of objects stays."""
    info = tmp_path / "objects/info"
    info.mkdir(parents=True)
    (info / "packs").touch()
    if split:
        (info / "commit-graphs").mkdir()
        (info / "commit-graphs/commit-graph-chain").touch()
    else:
        (info / "commit-graph").touch()
    remove_graph(tmp_path)
    remove_graph(tmp_path)
    assert [path.name for path in info.iterdir()] == ["packs"]


def test_a_tree_that_is_not_there_is_gone(tmp_path: Path) -> None:
    """Removing it twice does no harm."""
    (tmp_path / "a/b").mkdir(parents=True)
    remove_tree(tmp_path / "a")
    remove_tree(tmp_path / "a")
    assert not (tmp_path / "a").exists()
