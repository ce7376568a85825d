"""Which files of a mirror were verified, and who has written to them since."""

import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cachew.mirrors.checksums import holds, is_derived, summed_files
from cachew.mirrors.ledger import LEDGER, Ledger
from tests.fakes.descriptors import exhausted
from tests.functional import repositories

FORMATS = ["sha1", "sha256"]


@pytest.fixture(params=FORMATS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    """The ledger of a verified repository with everything that git derives from packs."""
    made = repositories.make_repository(tmp_path / "repo.git", commits=5, object_format=request.param)
    made.git("repack", "-adq", "--write-bitmap-index")
    made.git("multi-pack-index", "write", "--bitmap")
    made.git("commit-graph", "write", "--reachable", "--split")
    ledger = Ledger(directory=made.path, object_format=request.param)
    assert ledger.verify() == [] and ledger.changed() == "" and ledger.unverified() == []
    return ledger


@pytest.fixture
def repository(ledger: Ledger, tmp_path: Path) -> Path:
    """Its directory."""
    return tmp_path / "repo.git"


def flip(path: Path, position: int | None = None) -> None:
    """Flip a bit of a file, and put its time of modification back as if nobody had been there."""
    before = path.stat()
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 4
    path.write_bytes(content)
    path.chmod(before.st_mode & 0o777)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_every_file_that_has_a_checksum_is_verified(repository: Path) -> None:
    """Packs, indexes, bitmaps, the index of packs and the commit-graph are known, and the checksum of each holds."""
    object_format = "sha256" if "extensions" in (repository / "config").read_text().lower() else "sha1"
    names = summed_files(repository)
    kinds = {Path(name).suffix or Path(name).name for name in names}
    assert kinds == {".pack", ".idx", ".bitmap", ".graph", "multi-pack-index"}
    assert all(holds(repository / name, object_format) for name in names)
    assert {Path(name).suffix for name in names if not is_derived(name)} == {".pack", ".idx"}


@pytest.mark.parametrize("position", [0, 9, None, -1])
def test_a_flipped_bit_shows_without_reading_and_is_found_by_reading(
    ledger: Ledger, repository: Path, position: int | None
) -> None:
    """Wherever it is in whichever file, also with the file's time put back, and also for the next server."""
    for name in summed_files(repository):
        flip(repository / name, position)
        assert ledger.changed() == name
        restarted = Ledger(directory=repository, object_format="sha1")
        assert restarted.load() and restarted.unverified() == [name]
        assert ledger.verify([name]) == [name] and ledger.changed() == name
        flip(repository / name, position)
        assert ledger.changed() == name and ledger.verify() == [] and ledger.changed() == ""


def test_what_has_gone_is_damage(ledger: Ledger, repository: Path) -> None:
    """A pack or an index that is missing is missed, now and after a restart; what git can make again is not."""
    for name in summed_files(repository):
        aside = repository / "aside"
        (repository / name).rename(aside)
        restarted = Ledger(directory=repository, object_format="sha1")
        assert restarted.load()
        missed = "" if is_derived(name) else name
        assert (ledger.changed(), restarted.changed()) == (missed, missed)
        assert [each for each in (missed,) if each] == restarted.unverified()
        assert [each for each in (missed,) if each] == [each for each in ledger.verify() if each == name]
        aside.rename(repository / name)
        assert ledger.verify() == []


def test_a_pack_that_is_not_that_of_its_index(tmp_path: Path) -> None:
    """A sound pack in the place of another one is damage."""
    made = [repositories.make_repository(tmp_path / f"{number}.git", seed=number) for number in (1, 2)]
    for each in made:
        each.git("repack", "-adq")
    one, two = (each.path for each in made)
    (ours,), (theirs,) = (path.glob("objects/pack/*.pack") for path in (one, two))
    ledger = Ledger(directory=one, object_format="sha1")
    assert ledger.verify() == []
    ours.unlink()
    theirs.rename(ours)
    assert ledger.verify() == [str(ours.relative_to(one))]


def test_what_git_writes_is_taken_up(ledger: Ledger, repository: Path) -> None:
    """While git is at work nothing it replaces looks damaged, and what it wrote is verified; a foreign hand shows."""
    made = repositories.Repository(repository)
    repositories.push_commit(made)
    assert ledger.changed() == "" and ledger.take_up(replaced=False) == [] and ledger.unverified() == []
    victim = next(name for name in summed_files(repository) if name.endswith(".pack"))
    made.git("repack", "-adq", "--write-bitmap-index")
    made.git("commit-graph", "write", "--reachable", "--split=replace")
    assert ledger.changed(writing=True) == "" and victim not in summed_files(repository)
    assert ledger.changed() and ledger.take_up(replaced=True) == [] and ledger.changed() == ledger.changed() == ""
    (pack,) = (name for name in summed_files(repository) if name.endswith(".pack"))
    flip(repository / pack)
    assert ledger.changed(writing=True) == pack
    assert ledger.take_up(replaced=True) == [] and ledger.changed() == pack


def test_links_are_no_change(ledger: Ledger, repository: Path, tmp_path: Path) -> None:
    """Snapshots link packs and remove the links again; a file that was changed before is not forgiven by that."""
    names, links = summed_files(repository), tmp_path / "links"
    links.mkdir()
    with ledger.relinking():
        for number, name in enumerate(names):
            (links / str(number)).hardlink_to(repository / name)
    assert ledger.changed() == ""
    flip(repository / names[0])
    with ledger.relinking():
        for link in links.iterdir():
            link.unlink()
    assert ledger.changed() == names[0] and ledger.unverified() == [names[0]]


def test_a_pack_that_a_killed_fetch_left_is_none(ledger: Ledger, repository: Path) -> None:
    """A pack without an index is no pack to git, and no damage."""
    (repository / "objects/pack/pack-1.pack").write_bytes(b"half")
    assert ledger.verify() == [] and ledger.unverified() == []


def test_what_can_not_be_read_is_not_damaged(ledger: Ledger) -> None:
    """Without descriptors nothing can be said; that is raised instead."""
    with exhausted(), pytest.raises(OSError, match="Too many open files"):
        ledger.verify()
    assert ledger.changed() == ""


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("[]"), lambda path: path.write_text("{")])
def test_a_ledger_that_is_lost_is_begun_anew(ledger: Ledger, repository: Path, spoil: Callable[[Path], None]) -> None:
    """Without what an earlier run wrote down everything counts as unverified."""
    spoil(repository / LEDGER)
    again = Ledger(directory=repository, object_format="sha1")
    assert not again.load() and again.size == 0 and again.unverified() == summed_files(repository)


def test_git_finds_no_fault_with_the_ledger(repository: Path) -> None:
    """The file lies in the repository and disturbs nothing there."""
    done = subprocess.run(["git", "--git-dir", str(repository), "fsck"], capture_output=True, check=False)
    assert done.returncode == 0 and (repository / LEDGER).exists()


def test_the_size_is_known_without_looking(ledger: Ledger, repository: Path) -> None:
    """What the verified files take together is known even when nobody can look at them any more."""
    size = sum((repository / name).stat().st_size for name in summed_files(repository))
    repository.rename(repository.with_name("elsewhere"))
    assert ledger.size == size > 0


def test_links_that_are_made_meanwhile_are_no_change(ledger: Ledger, repository: Path, tmp_path: Path) -> None:
    """Snapshots are laid out with links to packs in other threads, and no look takes that for somebody's writing."""
    over = threading.Event()

    def lay_out_again_and_again() -> None:
        while not over.is_set():
            for change in (os.link, lambda path, link: os.unlink(link)):
                with ledger.relinking():
                    for name in summed_files(repository):
                        change(repository / name, tmp_path / name.replace("/", "-"))

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(lay_out_again_and_again)
        try:
            assert {ledger.changed() for _ in range(300)} == {""}
            assert {tuple(ledger.verify()) for _ in range(30)} == {()} and ledger.changed() == ""
        finally:
            over.set()
        working.result()
    assert ledger.changed() == ""
