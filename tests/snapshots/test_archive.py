"""Snapshots of real repositories."""

import io
import os
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from cachew.mirrors.commands import GitCommands
from cachew.plumbing import tarzst
from cachew.plumbing.errors import NotCheckedOut, NotFound, ProcessFailed
from cachew.plumbing.process import Processes
from cachew.plumbing.threads import Threads
from cachew.snapshots.archive import Archiver
from cachew.snapshots.variants import Variant
from tests.fakes.clock import FakeClock
from tests.functional.oddities import odd_repository
from tests.snapshots.repositories import URL, BareMirror, Output, bare, commit, git


@pytest.fixture
def archiver(processes: Processes, commands: GitCommands, threads: Threads) -> Archiver:
    """Return an archiver with real git and threads."""
    return Archiver(processes=processes, commands=commands, threads=threads, clock=FakeClock(now=1700000000.0))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return an empty directory beside the mirror."""
    directory = tmp_path / "place"
    directory.mkdir()
    return directory


async def snapshot(archiver: Archiver, mirror: BareMirror, place: Path, output: Output, **which: str) -> Any:
    """Make a snapshot."""
    prepared = await archiver.prepare(mirror.whole, Variant(**which), place)
    await archiver.write(prepared, output)
    return prepared.clone


@pytest_twisted.ensureDeferred
async def test_it_is_a_complete_clone(
    archiver: Archiver, mirror: BareMirror, place: Path, output: Output, tmp_path: Path
) -> None:
    """What is unpacked is the branch of HEAD, clean, whole, with the upstream as origin."""
    clone = await snapshot(archiver, mirror, place, output)
    tree = output.extract(tmp_path / "out")
    assert clone.commit == mirror.refs.head_commit == git(tree, "rev-parse", "HEAD")
    assert git(tree, "status", "--porcelain", "--branch") == "## main...origin/main"
    assert git(tree, "remote", "get-url", "origin") == URL
    assert (tree / "README").read_text() == "hello again\n"
    git(tree, "fsck", "--full", "--strict")


@pytest_twisted.ensureDeferred
async def test_it_has_the_refs_of_a_clone_and_no_other(
    archiver: Archiver, mirror: BareMirror, place: Path, output: Output, tmp_path: Path
) -> None:
    """Heads are remote-tracking branches, tags are tags, and what the server keeps for itself stays here."""
    await snapshot(archiver, mirror, place, output)
    tree = output.extract(tmp_path / "out")
    assert git(tree, "for-each-ref", "--format=%(refname) %(symref)").splitlines() == [
        "refs/heads/main ",
        "refs/remotes/origin/HEAD refs/remotes/origin/main",
        "refs/remotes/origin/main ",
        "refs/remotes/origin/other ",
        "refs/tags/v1 ",
    ]
    assert git(tree, "rev-parse", "origin/other") == mirror.refs.by_name["refs/heads/other"]


@pytest_twisted.ensureDeferred
async def test_it_holds_no_hooks_and_no_names_of_this_machine(
    archiver: Archiver, mirror: BareMirror, place: Path, output: Output
) -> None:
    """Members begin with ``./``, belong to nobody, and none is a hook, a log, a lock or an alternate."""
    await snapshot(archiver, mirror, place, output)
    with tarfile.open(fileobj=io.BytesIO(output.tar())) as archive:
        listed = archive.getmembers()
    names = [member.name for member in listed]
    assert all(name == "." or name.startswith("./") for name in names)
    assert {(member.uid, member.gid, member.uname, member.gname) for member in listed} == {(0, 0, "", "")}
    assert not [name for name in names if "hooks" in name or "alternates" in name or name.endswith((".lock", ".keep"))]
    assert len(names) == len(set(names))
    assert str(place).encode() not in output.tar()


@pytest_twisted.ensureDeferred
async def test_packs_have_frames_of_their_own(
    archiver: Archiver, mirror: BareMirror, place: Path, output: Output
) -> None:
    """The seek table leads to frames that decompress alone; the first one begins with the objects."""
    await snapshot(archiver, mirror, place, output)
    data = bytes(output.data)
    length = tarzst.table_length(data[-tarzst.FOOTER_SIZE :])
    assert length is not None
    frames = tarzst.decode_table(data[-length:])
    parts = [tarzst.decompress(data[f.offset : f.offset + f.length], f.size) for f in frames]
    assert b"".join(parts) == output.tar()
    assert len(parts) == 2
    assert parts[0].startswith(b"./.git/objects/")
    assert parts[1].startswith(b"./\0")


@pytest_twisted.ensureDeferred
async def test_the_mirror_is_held_and_left_as_it_was(
    archiver: Archiver, mirror: BareMirror, place: Path, output: Output
) -> None:
    """A snapshot copies no object and changes nothing in the mirror."""
    before = sorted((p, p.stat().st_mtime_ns) for p in mirror.directory.rglob("*") if p.is_file())
    await snapshot(archiver, mirror, place, output)
    assert mirror.held == [True]
    assert sorted((p, p.stat().st_mtime_ns) for p in mirror.directory.rglob("*") if p.is_file()) == before
    packs = list((place / "tree/.git/objects/pack").glob("*.pack"))
    assert packs
    assert all(pack.stat().st_nlink == 2 for pack in packs)


@pytest_twisted.ensureDeferred
async def test_a_branch_that_was_asked_for_is_checked_out(
    archiver: Archiver, mirror: BareMirror, place: Path, output: Output, tmp_path: Path
) -> None:
    """A snapshot of another branch has that branch, and still knows which one is the upstream's default."""
    await snapshot(archiver, mirror, place, output, ref="refs/heads/other")
    tree = output.extract(tmp_path / "out")
    assert git(tree, "status", "--porcelain", "--branch") == "## other...origin/other"
    assert git(tree, "symbolic-ref", "refs/remotes/origin/HEAD") == "refs/remotes/origin/main"


@pytest.mark.parametrize("which", [{"ref": "refs/heads/none"}, {}])
@pytest_twisted.ensureDeferred
async def test_a_branch_without_commit_is_refused(archiver: Archiver, tmp_path: Path, which: dict[str, str]) -> None:
    """An empty repository or a branch that isn't there is named in the error, before anything is begun."""
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "empty.git")
    with pytest.raises(NotFound, match=r"git.example/org/repo has no commit on refs/heads/(none|main)"):
        await archiver.prepare(BareMirror(tmp_path / "empty.git").whole, Variant(**which), tmp_path)


@pytest_twisted.ensureDeferred
async def test_a_detached_head_stays_detached(
    archiver: Archiver, mirror: BareMirror, place: Path, output: Output, tmp_path: Path
) -> None:
    """Where the upstream's HEAD names no branch, the snapshot's names the same commit."""
    oid = mirror.refs.by_name["refs/heads/other"]
    git(mirror.directory, "update-ref", "--no-deref", "HEAD", oid)
    await snapshot(archiver, mirror, place, output)
    tree = output.extract(tmp_path / "out")
    assert git(tree, "rev-parse", "--abbrev-ref", "HEAD") == "HEAD"
    assert git(tree, "rev-parse", "HEAD") == oid


@pytest_twisted.ensureDeferred
async def test_a_partial_snapshot_lacks_old_blobs_only(
    archiver: Archiver, mirror: BareMirror, place: Path, output: Output, tmp_path: Path
) -> None:
    """With ``blob:none`` history and HEAD's files are there, and the upstream is the promised source of the rest."""
    await snapshot(archiver, mirror, place, output, filter="blob:none")
    tree = output.extract(tmp_path / "out")
    assert git(tree, "status", "--porcelain", "--branch") == "## main...origin/main"
    assert git(tree, "remote", "get-url", "origin") == URL
    assert git(tree, "config", "remote.origin.partialclonefilter") == "blob:none"
    listed = git(tree, "rev-list", "--objects", "--all", "--missing=print").splitlines()
    missing = [line for line in listed if line.startswith("?")]
    assert len(missing) == 2
    assert git(tree, "rev-list", "--count", "origin/main") == "2"
    assert str(place).encode() not in output.tar()


@pytest_twisted.ensureDeferred
async def test_sha256_repositories_have_snapshots(
    archiver: Archiver, place: Path, output: Output, tmp_path: Path
) -> None:
    """The object format of the mirror is the object format of the snapshot."""
    git(tmp_path, "init", "-q", "-b", "main", "--object-format=sha256", "work256")
    oid = commit(tmp_path / "work256", {"a": "b"})
    mirror = bare(tmp_path / "work256", tmp_path / "256.git", object_format="sha256")
    await snapshot(archiver, mirror, place, output)
    tree = output.extract(tmp_path / "out")
    assert len(oid) == 64
    assert git(tree, "rev-parse", "HEAD") == oid
    assert git(tree, "status", "--porcelain") == ""


@pytest_twisted.ensureDeferred
async def test_hostile_trees_stay_data(
    archiver: Archiver, work: Path, place: Path, output: Output, tmp_path: Path
) -> None:
    """Links, odd names and filters in a repository are archived as they are; the server follows and runs none."""
    (work / "passwd").symlink_to("/etc/passwd")
    (work / "up").symlink_to("../../..")
    odd = {"-rf": "x", "new\nline": "y", "caf\xe9": "z", "n" * 200: "long", "--checkpoint-action=exec=touch x": "w"}
    attributes = "*.lfs filter=lfs\n*.run filter=run\n"
    commit(work, {**odd, ".gitattributes": attributes, "a.lfs": "version https://git-lfs…", "a.run": "data"})
    mirror = bare(work, tmp_path / "hostile.git")
    await snapshot(archiver, mirror, place, output)
    tree = output.extract(tmp_path / "out")
    assert os.readlink(tree / "passwd") == "/etc/passwd"
    assert {name: (tree / name).read_text() for name in odd} == odd
    assert (tree / "a.lfs").read_text() == "version https://git-lfs…"
    assert git(tree, "status", "--porcelain") == ""
    assert b"root:" not in output.tar()


@pytest_twisted.ensureDeferred
async def test_a_private_umask_is_not_passed_on(
    archiver: Archiver, mirror: BareMirror, place: Path, output: Output
) -> None:
    """Files are readable and scripts executable after unpacking whatever the server's umask is."""
    old = os.umask(0o077)
    try:
        await snapshot(archiver, mirror, place, output)
    finally:
        os.umask(old)
    with tarfile.open(fileobj=io.BytesIO(output.tar())) as archive:
        modes = {member.name: member.mode & 0o777 for member in archive}
    assert modes["./README"] == 0o644
    assert modes["./dir"] == 0o755


@pytest_twisted.ensureDeferred
async def test_the_index_is_of_version_2_and_fresh(
    archiver: Archiver, mirror: BareMirror, place: Path, output: Output, tmp_path: Path
) -> None:
    """The index has the form that a client can refresh without reading the files."""
    await snapshot(archiver, mirror, place, output)
    tree = output.extract(tmp_path / "out")
    assert (tree / ".git/index").read_bytes()[:8] == b"DIRC\0\0\0\x02"
    debug = git(tree, "ls-files", "--debug", "README")
    seconds = int(debug.split("mtime: ")[1].split(":")[0])
    assert seconds == int((tree / "README").stat().st_mtime)


@pytest_twisted.ensureDeferred
async def test_a_failing_checkout_fails_the_snapshot(
    archiver: Archiver, mirror: BareMirror, place: Path, output: Output
) -> None:
    """A repository with a missing object never gives an archive that looks complete."""
    prepared = await archiver.prepare(mirror.whole, Variant(), place)
    for pack in (place / "tree/.git/objects/pack").glob("*.idx"):
        pack.unlink()
    with pytest.raises(ProcessFailed, match="git read-tree"):
        await archiver.write(prepared, output)


@pytest_twisted.ensureDeferred
async def test_cancelling_ends_every_child(
    archiver: Archiver, mirror: BareMirror, place: Path, processes: Processes
) -> None:
    """When nobody wants the archive any more, no process and no thread goes on with it."""
    prepared = await archiver.prepare(mirror.whole, Variant(), place)
    stuck: Deferred[None] = Deferred()
    writing = Deferred.fromCoroutine(archiver.write(prepared, lambda data: stuck))
    writing.addErrback(lambda failure: None)
    await Deferred.fromCoroutine(_first(writing, stuck))
    assert processes.running == 0


async def _first(writing: Deferred[None], stuck: Deferred[None]) -> None:
    writing.cancel()
    await writing


@pytest_twisted.ensureDeferred
async def test_refs_of_any_bytes(
    archiver: Archiver, mirror: BareMirror, place: Path, output: Output, tmp_path: Path
) -> None:
    """Names with what Unicode takes for the end of a line, or that are no UTF-8, are those of the snapshot's refs."""
    names = [
        "line\u2028separator",
        "next\u0085line",
        "blank\u00a0",
        "issue_57_r\udcc3v",
        'it\'s"quoted"',
        "🦊",
        "-dash",
    ]
    for name in names:
        git(mirror.directory, "update-ref", f"refs/heads/{name}", "refs/heads/other")
        git(mirror.directory, "update-ref", f"refs/tags/{name}", "refs/heads/other")
    for number, name in enumerate(names):
        git(mirror.directory, "symbolic-ref", "HEAD", f"refs/heads/{name}")
        made = Output()
        (place / str(number)).mkdir()
        await snapshot(archiver, mirror, place / str(number), made)
        tree = made.extract(tmp_path / f"out{number}")
        assert git(tree, "symbolic-ref", "HEAD") == f"refs/heads/{name}"
        assert git(tree, "rev-parse", "--symbolic-full-name", "@{upstream}") == f"refs/remotes/origin/{name}"
        assert git(tree, "rev-parse", "HEAD") == mirror.refs.by_name["refs/heads/other"]
        listed = git(tree, "for-each-ref", "--format=%(refname)").split("\n")
        assert {f"refs/remotes/origin/{name}" for name in names} <= set(listed)
        assert {f"refs/tags/{name}" for name in names} <= set(listed)


@pytest_twisted.ensureDeferred
async def test_the_branch_of_head_is_loose_and_reflogs_are_as_a_clone_has_them(
    archiver: Archiver, mirror: BareMirror, place: Path, output: Output, tmp_path: Path
) -> None:
    """Whoever extracts a snapshot over an older one gets the newer branch, and reflogs begin with the clone."""
    await snapshot(archiver, mirror, place, output)
    tree = output.extract(tmp_path / "out")
    git(tmp_path, "clone", "-q", "--template=", f"file://{mirror.directory}", "clone")

    def files(root: Path, *places: str) -> list[str]:
        found = [path for place in places for path in (root / ".git" / place).rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(root)) for path in found)

    assert files(tree, "refs", "logs") == files(tmp_path / "clone", "refs", "logs")
    assert (tree / ".git/refs/heads/main").read_text() == f"{mirror.refs.head_commit}\n"
    for name in ("HEAD", "main", "origin/HEAD"):
        assert git(tree, "reflog", "show", "--format=%H %gs", name) == f"{mirror.refs.head_commit} clone: from {URL}"


@pytest_twisted.ensureDeferred
async def test_a_shallow_mirror_gives_a_shallow_snapshot(
    archiver: Archiver, work: Path, place: Path, output: Output, tmp_path: Path
) -> None:
    """Where history ends at the upstream it ends in the snapshot, whatever the filter, and git takes it for whole."""
    for number in range(5):
        commit(work, {"README": f"{number}\n"})
    git(tmp_path, "clone", "-q", "--bare", "--depth=3", "--template=", f"file://{work}", "shallow.git")
    mirror = BareMirror(tmp_path / "shallow.git")
    for number, which in enumerate([{}, {"filter": "blob:none"}]):
        made = Output()
        (place / str(number)).mkdir()
        await snapshot(archiver, mirror, place / str(number), made, **which)
        tree = made.extract(tmp_path / f"out{number}")
        assert git(tree, "rev-list", "--count", "HEAD") == "3"
        git(tree, "log", "--oneline", "--all")
        git(tree, "fsck", "--connectivity-only")


@pytest.mark.parametrize("target", ["refs/meta/config", "refs/tags/v1", "refs/remotes/x/y"])
@pytest_twisted.ensureDeferred
async def test_head_outside_of_the_branches(
    archiver: Archiver, mirror: BareMirror, place: Path, output: Output, tmp_path: Path, target: str
) -> None:
    """The snapshot is of the commit to which HEAD leads, detached, as in a clone."""
    if target != "refs/tags/v1":
        git(mirror.directory, "update-ref", target, "refs/heads/other")
    git(mirror.directory, "symbolic-ref", "HEAD", target)
    clone = await snapshot(archiver, mirror, place, output)
    tree = output.extract(tmp_path / "out")
    assert clone.commit == git(tree, "rev-parse", "HEAD") == git(mirror.directory, "rev-parse", f"{target}^{{commit}}")
    assert git(tree, "rev-parse", "--abbrev-ref", "HEAD") == "HEAD"
    assert git(tree, "status", "--porcelain") == ""


@pytest.mark.parametrize("which", [{}, {"filter": "blob:none"}])
@pytest.mark.parametrize(
    ("branch", "words"),
    [
        ("tree/dot-git", "invalid path '.git/config'"),
        ("tree/dots", "invalid path '../config'"),
        ("tree/linked-modules", "invalid path '.gitmodules'"),
        ("tree/null-id", "cache entry has null sha1: module"),
        ("tree/name-of-300", "File name too long"),
        ("tree/long-name", "File name too long"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_git_refuses_to_check_out(
    archiver: Archiver, place: Path, tmp_path: Path, branch: str, words: str, which: dict[str, str]
) -> None:
    """It is told in git's words before anything is begun, whatever the repository's other branches hold."""
    mirror = BareMirror(odd_repository(tmp_path / "odd.git").path)
    with pytest.raises(NotCheckedOut, match=f"[0-9a-f]{{40}} of git.example/org/repo out: .*{re.escape(words)}"):
        await archiver.prepare(mirror.whole, Variant(ref=f"refs/heads/{branch}", **which), place)


@pytest_twisted.ensureDeferred
async def test_odd_objects_that_git_checks_out(archiver: Archiver, place: Path, output: Output, tmp_path: Path) -> None:
    """Whatever fsck has to say of a repository, its snapshot is made and has every object."""
    mirror = BareMirror(odd_repository(tmp_path / "odd.git").path)
    await snapshot(archiver, mirror, place, output)
    tree = output.extract(tmp_path / "out")
    assert git(tree, "rev-parse", "HEAD") == mirror.refs.head_commit
    assert git(tree, "status", "--porcelain") == ""
    assert len(git(tree, "log", "--format=%H", "--remotes").split("\n")) > len(mirror.refs.by_name) / 3
