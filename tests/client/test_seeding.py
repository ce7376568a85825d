"""Repositories that git has just made, seeded with a snapshot, and snapshots that are not what they should be."""

import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cachew.client.clienterrors import ClientError, ServerRefused
from cachew.client.gitdir import GitDirectory
from cachew.client.seeding import Seeding, parts_of
from cachew.plumbing.tarzst import FRAME_SIZE, Frame
from tests.fakes.archives import git, make_upstream, member, seekable, snapshot_members, tar, trailed
from tests.fakes.cachew_server import Stored
from tests.fakes.client_parts import Parts
from tests.fakes.deephistory import FILES, make_deep

PATH = "/git/git.example/org/repo/snapshot.tar.zst"
Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def members(tmp_path: Path) -> Members:
    """The entries of a snapshot whose objects are in a pack."""
    upstream = make_upstream(tmp_path / "upstream")
    git(upstream, "repack", "-a", "-d", "-q")
    return snapshot_members(upstream, tmp_path / "scratch", origin="https://git.example/org/repo")


@pytest.fixture
def repository(tmp_path: Path) -> GitDirectory:
    """A repository without anything."""
    (tmp_path / "new").mkdir()
    git(tmp_path / "new", "init", "-q")
    return GitDirectory(os.fsencode(tmp_path / "new/.git"))


def seed(parts: Parts, repository: GitDirectory, members: Members, **how: bool | None) -> dict[bytes, bytes]:
    """Seed a repository with a snapshot of some entries."""
    parts.server.objects[PATH] = Stored(seekable(tar(members)))
    return seeding(parts, repository, **how).seed(parts.server.url + PATH)


def seeding(
    parts: Parts, repository: GitDirectory, *, sha256: bool | None = None, checks_out: bool | None = True
) -> Seeding:
    """Return what seeds."""
    return Seeding(
        repository=repository, downloads=parts.downloads, sha256=sha256, threads=2, checks_out=bool(checks_out)
    )


def files(repository: GitDirectory) -> set[str]:
    """Return the files of a repository."""
    root = Path(os.fsdecode(repository.path))
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def replaced(members: Members, change: Callable[[str, bytes], bytes | None]) -> Members:
    """Return entries with other contents; None leaves one out."""
    found = []
    for info, content in members:
        new = change(info.name, content) if info.isfile() else content
        if new is not None:
            info.size = len(new)
            found.append((info, new))
    return found


def test_objects_and_refs_are_taken_and_nothing_else(parts: Parts, repository: GitDirectory, members: Members) -> None:
    """The pack, its index and ``refs/bundles/*`` come; the working tree, config, hooks and whatever else do not."""
    evil = [member("./.git/hooks/post-checkout", b"#!/bin/sh\n"), member("./.git/objects/info/alternates", b"/etc\n")]
    before = files(repository)
    refs = seed(parts, repository, [*evil, *members])
    new = files(repository) - before
    assert {Path(name).suffix or name for name in new} <= {".pack", ".idx", ".rev", "packed-refs"}
    assert set(refs) == {b"refs/bundles/heads/trunk", b"refs/bundles/tags/v1"}
    root = Path(os.fsdecode(repository.path))
    git(root, "fsck", "--strict")
    assert git(root, "for-each-ref", "--format=%(refname)").split() == sorted(name.decode() for name in refs)


def test_loose_objects_come_too(parts: Parts, repository: GitDirectory, tmp_path: Path) -> None:
    """A snapshot of a repository that was never packed has its objects one by one."""
    upstream = make_upstream(tmp_path / "loose")
    seed(parts, repository, snapshot_members(upstream, tmp_path / "other", origin="https://git.example/org/repo"))
    git(Path(os.fsdecode(repository.path)), "fsck", "--strict")


@pytest.fixture
def deep(tmp_path: Path) -> Members:
    """The entries of a snapshot whose files lie deep in deltas."""
    return snapshot_members(make_deep(tmp_path / "deep"), tmp_path / "other", origin="https://git.example/org/repo")


def packs(repository: GitDirectory) -> list[str]:
    """Return the packs of a repository."""
    return sorted(name for name in files(repository) if name.endswith(".pack"))


def test_files_deep_in_deltas_come_whole_too(parts: Parts, repository: GitDirectory, deep: Members) -> None:
    """Git then reads them from a pack of their own; what the working tree has besides them does not come."""
    seed(parts, repository, [*deep, member("./untracked", b"x")])
    root = Path(os.fsdecode(repository.path))
    git(root, "fsck", "--strict")
    git(root, "multi-pack-index", "verify")
    (whole,) = (name for name in packs(repository) if "blob" in kinds(root, name) and "commit" not in kinds(root, name))
    assert kinds(root, whole).count("blob") == FILES
    git(root.parent, "checkout", "-q", "-b", "trunk", "refs/bundles/heads/trunk")
    assert git(root.parent, "status", "--short") == ""
    git(root.parent, "-c", "gc.pruneExpire=now", "gc", "-q")
    git(root, "fsck", "--strict")
    assert len(packs(repository)) == 1 and "objects/pack/multi-pack-index" not in files(repository)


def kinds(root: Path, pack: str) -> list[str]:
    """Return the types of a pack's objects."""
    lines = git(root, "verify-pack", "-v", pack.replace(".pack", ".idx")).split("\n")
    return [line.split()[1] for line in lines if line[40:41] == " "]


def test_without_a_checkout_no_files_come(parts: Parts, repository: GitDirectory, deep: Members) -> None:
    """A bare clone has no use for them."""
    seed(parts, repository, deep, checks_out=False)
    assert len(packs(repository)) == 1


@pytest.mark.parametrize("where", ["in a header", "in its files", "before its end"])
def test_a_damaged_working_tree_is_done_without(
    parts: Parts, repository: GitDirectory, deep: Members, where: str
) -> None:
    """All of the repository has come by then, and git checks out from that."""
    if where == "in its files":
        deep = replaced(deep, lambda name, content: content if ".git" in name else content[::-1])
    body = tar(deep)
    if where == "in a header":
        at = body.index(b"./1.txt")
        body = body[:at] + b"/" + body[at + 1 :]
    elif where == "before its end":
        body = body[: body.index(b"./2.txt") + 700]
    parts.server.objects[PATH] = Stored(seekable(body))
    seeding(parts, repository).seed(parts.server.url + PATH)
    root = Path(os.fsdecode(repository.path))
    git(root, "fsck", "--strict")
    assert len(packs(repository)) == 1
    assert not [name for name in os.listdir(repository.objects) if name.startswith(b"tmp")]


DAMAGES: dict[str, Callable[[str, bytes], bytes | None]] = {
    "a pack that is not what its checksum says": lambda name, content: (
        content[:20] + bytes([content[20] ^ 1]) + content[21:] if name.endswith(".pack") else content
    ),
    "an index that is not what its checksum says": lambda name, content: (
        content[:1032] + bytes([content[1032] ^ 1]) + content[1033:] if name.endswith(".idx") else content
    ),
    "a pack without its index": lambda name, content: None if name.endswith(".idx") else content,
    "a pack with the index of another": lambda name, content: (
        trailed(content[:-40] + bytes(20)) if name.endswith(".idx") else content
    ),
    "refs that are none": lambda name, content: b"nonsense\n" if name.endswith("packed-refs") else content,
    "a ref outside of refs": lambda name, content: (
        content + b"1" * 40 + b" refs/tags/../../config\n" if name.endswith("packed-refs") else content
    ),
    "a branch that is no object's name": lambda name, content: (
        b"ref: refs/heads/x\n" if name.endswith("refs/heads/trunk") else content
    ),
    "a ref to what is not there": lambda name, content: (
        content + b"1" * 40 + b" refs/tags/x\n" if name.endswith("packed-refs") else content
    ),
    "a branch at what is not there": lambda name, content: (
        b"1" * 40 + b"\n" if name.endswith("refs/heads/trunk") else content
    ),
    "no refs": lambda name, content: None if "refs" in name else content,
    "a shallow repository": lambda name, content: content,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_leaves_nothing(parts: Parts, repository: GitDirectory, members: Members, damage: str) -> None:
    """Whatever is wrong with a snapshot, the repository is as it was."""
    before = files(repository)
    wrong = replaced(members, DAMAGES[damage])
    if "shallow" in damage:
        wrong.append(member("./.git/shallow", b"1" * 40 + b"\n"))
        wrong.sort(key=lambda one: one[0].name)
    with pytest.raises(ClientError):
        seed(parts, repository, wrong)
    assert files(repository) == before
    assert not [name for name in os.listdir(repository.objects) if name.startswith(b"tmp")]


@pytest.mark.parametrize("name", ["../x", "/etc/x", ".git/objects/pack/../../../x"])
def test_nothing_is_written_elsewhere(
    parts: Parts, repository: GitDirectory, members: Members, name: str, tmp_path: Path
) -> None:
    """An entry that leads out of the archive refuses it."""
    before = {path for path in tmp_path.rglob("*") if "new" in path.parts}
    with pytest.raises(ClientError):
        seed(parts, repository, [member(name, b"x"), *members])
    assert {path for path in tmp_path.rglob("*") if "new" in path.parts} == before


def test_a_link_cannot_stand_in_for_a_directory(parts: Parts, repository: GitDirectory, members: Members) -> None:
    """A link within the archive's repository refuses it."""
    with pytest.raises(ClientError, match="a link within"):
        seed(parts, repository, [member("./.git/objects", type=tarfile.SYMTYPE, linkname="/tmp"), *members])


def test_another_object_format_is_left(parts: Parts, repository: GitDirectory, members: Members) -> None:
    """A repository whose object format is settled takes no objects of the other one."""
    with pytest.raises(ClientError, match="object format"):
        seed(parts, repository, members, sha256=True)


def test_nothing_is_made_for_us(parts: Parts, repository: GitDirectory) -> None:
    """Where nothing is cached the server is asked for its head only, and makes nothing."""
    with pytest.raises(ClientError, match="has none yet"):
        seeding(parts, repository).seed(parts.server.url + PATH)
    assert [one.method for one in parts.server.seen] == ["HEAD"]


@pytest.mark.parametrize(("asked", "waited"), [("5", [5.0]), ("61", []), ("", [])])
def test_a_busy_server_is_waited_for_if_it_says_how_long(
    parts: Parts, repository: GitDirectory, members: Members, asked: str, waited: list[float]
) -> None:
    """Not for very long, and otherwise git's own way goes on at once."""
    parts.server.refusals[PATH] = [(503, {"Retry-After": asked} if asked else {})]
    if waited:
        assert seed(parts, repository, members)
    else:
        with pytest.raises(ServerRefused):
            seed(parts, repository, members)
    assert parts.pauses == waited and len(parts.server.requests("HEAD")) == 1 + len(waited)


def test_a_change_on_the_server_is_noticed(parts: Parts, repository: GitDirectory, members: Members) -> None:
    """Parts of two snapshots never come together: every range is pinned to one tag, and it is tried once more."""
    body = seekable(tar(members))
    stored, changes = Stored(body), 1

    def change(gets: int) -> None:
        stored.etag = f"change {min(gets, changes)}"

    stored.after = change
    parts.server.objects[PATH] = stored
    seeding(parts, repository).seed(parts.server.url + PATH)


def test_what_changes_all_the_time_is_left(parts: Parts, repository: GitDirectory, members: Members) -> None:
    """A snapshot that is another one for every part is not waited for."""
    stored = Stored(seekable(tar(members)))

    def change(gets: int) -> None:
        stored.etag = f"change {gets}"

    stored.after = change
    parts.server.objects[PATH] = stored
    before = files(repository)
    with pytest.raises(ClientError):
        seeding(parts, repository).seed(parts.server.url + PATH)
    assert files(repository) == before


def test_a_cut_connection_goes_on(parts: Parts, repository: GitDirectory, members: Members) -> None:
    """What breaks off is asked for again, from where it broke."""
    parts.server.objects[PATH] = Stored(seekable(tar(members)), cuts=[None, 1000, 10])
    seeding(parts, repository).seed(parts.server.url + PATH)
    git(Path(os.fsdecode(repository.path)), "fsck", "--strict")


def test_the_working_tree_is_not_asked_for(parts: Parts, repository: GitDirectory, members: Members) -> None:
    """Of a snapshot with a large working tree hardly more comes than its repository."""
    large = [member(f"./tree/{number}", os.urandom(FRAME_SIZE)) for number in range(30)]
    body = tar([*(one for one in members if ".git" in one[0].name), *large])
    parts.server.objects[PATH] = Stored(seekable(body, frame=FRAME_SIZE // 8))
    seeding(parts, repository).seed(parts.server.url + PATH)
    assert parts.progress.count < FRAME_SIZE


def test_where_the_objects_end() -> None:
    """The frames up to the first that is not full are asked for at once, the others by and by."""
    frames = [Frame(number, 1, number, FRAME_SIZE if number not in (5, 19) else 7) for number in range(20)]
    assert [len(part) for part in parts_of(frames)] == [10, 4, 4, 2]
    assert [frame for part in parts_of(frames) for frame in part] == frames
    assert [len(part) for part in parts_of(frames[:3])] == [3]


def test_a_borrowing_repository_is_not_empty(repository: GitDirectory) -> None:
    """Objects, refs or another repository's objects: any of them is something."""
    assert repository.is_empty()
    root = Path(os.fsdecode(repository.path))
    for name in ("objects/info/alternates", "objects/pack/pack-1.idx", "refs/heads/x", "packed-refs"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("1234 refs/x\n")
        assert not repository.is_empty(), name
        (root / name).unlink()
    (root / "packed-refs").write_text("# pack-refs with: peeled\n")
    assert repository.is_empty()
    (root / "objects/0a").mkdir()
    assert not repository.is_empty()


def test_what_was_killed_leaves_nothing_for_long(parts: Parts, repository: GitDirectory, members: Members) -> None:
    """The next seed removes what lies aside of one that was killed, also when it has its number; not what is in use."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    aside = {number: Path(os.fsdecode(repository.objects)) / f"tmp_objdir-cachew-{number}" for number in (ended.pid, 1)}
    aside[os.getpid()] = Path(os.fsdecode(repository.objects)) / f"tmp_objdir-cachew-{os.getpid()}"
    for directory in aside.values():
        (directory / "objects/pack").mkdir(parents=True)
    assert seed(parts, repository, members)
    assert [number for number, directory in aside.items() if directory.exists()] == [1]
