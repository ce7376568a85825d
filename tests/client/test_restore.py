"""`git restore` against a server, with real git."""

import hashlib
import os
import shutil
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from cachew.client.addresses import parse_repository
from cachew.client.clienterrors import (
    ArchiveBroken,
    ArchiveRefused,
    BadUsage,
    ClientError,
    DownloadCorrupt,
    ExtractionFailed,
    NotCached,
    ObjectChanged,
    ServerRefused,
)
from cachew.client.freshen import WantedRefs, parse_wanted
from cachew.client.restore import RestoreRequest
from tests.fakes.archives import commit, framed, git, make_upstream, member, seekable, snapshot_members, tar, trailed
from tests.fakes.cachew_server import Stored
from tests.fakes.client_parts import Parts

UPSTREAM = "https://git.example/org/repo"
BASE = "/git/git.example/org/repo"
SNAPSHOT = f"{BASE}/snapshot.tar.zst"
NOTHING = WantedRefs({}, [])


class World:
    """An upstream, its snapshot on the server, and a place to restore to."""

    def __init__(self, parts: Parts, directory: Path, object_format: str = "sha1") -> None:
        self.parts = parts
        self.upstream = make_upstream(directory / "upstream", object_format=object_format)
        self.members = snapshot_members(self.upstream, directory / "scratch", origin=UPSTREAM)
        self.commit = git(self.upstream, "rev-parse", "HEAD")
        self.place = directory / "place"
        self.place.mkdir()
        self.target = self.place / "repo"
        self.publish()

    def publish(self, extra: Any = (), compress: Callable[[bytes], bytes] = seekable, **fields: Any) -> Stored:
        """Put the snapshot on the server, with more entries at its end."""
        content = compress(tar([*self.members, *extra]))
        stored = Stored(content, headers={"X-Cachew-Snapshot-Commit": self.commit}, **fields)
        self.parts.server.objects[SNAPSHOT] = stored
        return stored

    def restore(self, url: str = UPSTREAM, wanted: WantedRefs = NOTHING, **options: Any) -> None:
        """Restore."""
        address = parse_repository(url, server=self.parts.server.url)
        self.parts.restore.restore(RestoreRequest(address, self.target, wanted, **options))

    def offer_bundle(self, *, broken: bool = False) -> str:
        """Commit upstream and offer a bundle to that commit, which is returned."""
        new = commit(self.upstream, "new", "new\n")
        file = self.place.parent / "delta"
        git(self.upstream, "bundle", "create", str(file), f"{self.commit}..trunk")
        path = f"{BASE}/snapshot.bundle?base={self.commit}"
        self.parts.server.objects[path] = Stored(file.read_bytes()[: 50 if broken else None])
        self.parts.server.objects[SNAPSHOT].headers["X-Cachew-Bundle-Url"] = path
        return new

    def left(self) -> list[str]:
        """Return what is in the place."""
        return sorted(path.name for path in self.place.iterdir())


@pytest.fixture
def world(parts: Parts, tmp_path: Path) -> World:
    return World(parts, tmp_path)


def test_restores_a_working_repository(world: World) -> None:
    """The checkout is clean, complete, on its branch, and tracks the upstream."""
    world.restore()
    tree = world.target
    assert git(tree, "diff-files", "--name-only") == ""
    assert git(tree, "status", "--short", "--branch") == "## trunk...origin/trunk"
    assert git(tree, "rev-parse", "HEAD") == world.commit
    assert git(tree, "remote", "get-url", "origin") == UPSTREAM
    assert git(tree, "fsck", "--full") == ""
    assert git(tree, "describe", "--tags") == "v1"
    assert os.readlink(tree / "outside") == "/etc/hostname"
    assert (tree / "bin/run").stat().st_mode & 0o100
    assert world.left() == ["repo"]
    hint = world.parts.progress.said[-1]
    assert f'url."{world.parts.server.url}/git/git.example/".insteadOf https://git.example/' in hint


@pytest.mark.parametrize("compress", [framed, zstandard.compress])
@pytest.mark.parametrize("generating", [False, True])
def test_restores_archives_of_any_make(world: World, compress: Callable[[bytes], bytes], generating: bool) -> None:
    """Frames without a table and one single frame are restored as well, in ranges and as a stream."""
    world.publish(compress=compress, generating=generating)
    world.restore()
    assert git(world.target, "status", "--short") == ""


def test_restores_large_packs(world: World) -> None:
    """A pack that is written past tar is what it was, read-only and as old as it was, and so is what comes after it."""
    (world.upstream / "large").write_bytes(os.urandom(2_500_000))
    world.commit = commit(world.upstream, "after", "after\n")
    world.members = snapshot_members(world.upstream, world.place.parent / "s2", origin=UPSTREAM)
    git(world.place.parent / "s2/tree", "repack", "-a", "-d", "--quiet")
    packs = (world.place.parent / "s2/tree/.git/objects/pack").iterdir()
    objects = [member(f"./.git/objects/pack/{p.name}", p.read_bytes(), mode=0o444, mtime=1_600_000_000) for p in packs]
    world.members = objects + [one for one in world.members if "/objects/" not in one[0].name]
    world.publish()
    world.restore()
    git(world.target, "fsck", "--full", "--strict")
    assert git(world.target, "status", "--short") == ""
    (pack,) = (world.target / ".git/objects/pack").glob("*.pack")
    assert pack.stat().st_size > 2_500_000
    assert stat.S_IMODE(pack.stat().st_mode) & ~0o444 == 0
    assert pack.stat().st_mtime == 1_600_000_000


def test_refuses_a_large_object_that_comes_twice(world: World) -> None:
    """Nobody can say which of two packs of one name is meant."""
    pack = member("./.git/objects/pack/pack-1.pack", trailed(bytes(1_100_000)))
    world.publish([pack, pack])
    with pytest.raises(ExtractionFailed):
        world.restore()
    assert world.left() == []


def test_says_nothing_of_what_is_set_already(world: World, tmp_path: Path) -> None:
    """Who fetches through the server already is not told how to."""
    (tmp_path / "config").write_text(
        f'[url "{world.parts.server.url}/git/git.example/"]\n\tinsteadOf = https://git.example/\n'
        '[url "https://other.example/"]\n\tinsteadOf = https://git\n'
    )
    world.restore()
    assert "insteadOf" in world.parts.progress.said[-1]
    world.target = world.place / "again"
    world.parts.environ["GIT_CONFIG_GLOBAL"] = str(tmp_path / "config")
    world.restore()
    assert not any("insteadOf" in text for text in world.parts.progress.said[-1:])


def test_restores_sha256_repositories(parts: Parts, tmp_path: Path) -> None:
    """A repository of SHA-256 objects gets the config that says so."""
    world = World(parts, tmp_path, "sha256")
    world.restore()
    assert git(world.target, "diff-files", "--name-only") == ""
    assert git(world.target, "rev-parse", "HEAD") == world.commit
    assert len(world.commit) == 64


def test_restores_while_the_snapshot_is_made(world: World) -> None:
    """A snapshot that is being generated is restored as it comes."""
    world.publish(generating=True)
    world.restore()
    assert git(world.target, "rev-parse", "HEAD") == world.commit


def test_restores_from_the_server_s_url(world: World) -> None:
    """With the server's own URL the archive says what the upstream is called, if it is the same repository."""
    world.members = snapshot_members(world.upstream, world.place.parent / "s2", origin="http://10.0.0.5:3000/org/repo")
    world.publish()
    world.restore(f"{world.parts.server.url}{BASE}")
    assert git(world.target, "remote", "get-url", "origin") == "http://10.0.0.5:3000/org/repo"


def test_an_archive_cannot_choose_another_repository(world: World) -> None:
    """What an archive calls its origin is not taken when it is another repository, or a command."""
    for number, origin in enumerate(["https://evil.example/x", "ext::sh -c touch% /tmp/x"]):
        world.members = snapshot_members(world.upstream, world.place.parent / f"s{number}", origin=origin)
        world.publish()
        world.target = world.place / f"repo{number}"
        world.restore(f"{world.parts.server.url}{BASE}")
        assert git(world.target, "remote", "get-url", "origin") == UPSTREAM


def test_a_detached_head_stays_detached(world: World) -> None:
    """A snapshot without a branch is restored without one."""
    world.members = [
        member("./.git/HEAD", f"{world.commit}\n".encode()) if info.name == "./.git/HEAD" else (info, content)
        for info, content in world.members
    ]
    world.publish()
    world.restore()
    assert git(world.target, "rev-parse", "HEAD") == world.commit


def test_takes_nothing_that_git_would_obey(world: World) -> None:
    """Config, hooks, attributes, alternates and the like of an archive are not there after a restore."""
    evil = b'[core]\n\tfsmonitor = "touch /tmp/x"\n[alias]\n\tst = !id\n'
    names = ["config.worktree", "hooks/post-checkout", "info/attributes", "objects/info/alternates", "commondir"]
    names += ["modules/x/config", "modules/x/hooks/post-checkout", "worktrees/x/gitdir", "rebase-merge/git-rebase-todo"]
    world.members = [entry for entry in world.members if entry[0].name != "./.git/config"]
    world.publish([member(f"./.git/{name}", evil, mode=0o755) for name in ["config", *names]])
    world.restore()
    for name in names:
        assert not (world.target / ".git" / name).exists()
    assert b"fsmonitor" not in (world.target / ".git/config").read_bytes()
    assert git(world.target, "status", "--short") == ""


HOSTILE = {
    "device": [member("./dev", type=tarfile.CHRTYPE)],
    "outside": [member("../evil", b"x")],
    "through a link": [member("./l", type=tarfile.SYMTYPE, linkname=".."), member("./l/evil", b"x")],
    "into .git through a link": [
        member("./l", type=tarfile.SYMTYPE, linkname=".git"),
        member("./l/hooks/pre-commit", b"x"),
    ],
    "disguised": [member("./.GIT/config", b"x")],
    "nested": [member("./sub/.git/config", b"x")],
    "hard link": [member("./passwd", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_leaves_nothing(world: World, what: str) -> None:
    """A refused archive leaves neither a checkout nor anything else."""
    world.publish(HOSTILE[what])
    with pytest.raises(ArchiveRefused):
        world.restore()
    assert world.left() == []


def test_no_set_id_bits(world: World) -> None:
    """Files are never set-id."""
    world.publish([member("./suid", b"x", mode=0o6755)])
    world.restore()
    assert stat.S_IMODE((world.target / "suid").stat().st_mode) & 0o7000 == 0


def test_a_damaged_download_leaves_nothing(world: World) -> None:
    """Content with the wrong digest is never renamed into place."""
    world.publish(etag="0" * 64)
    with pytest.raises(DownloadCorrupt):
        world.restore()
    assert world.left() == []


@pytest.mark.parametrize("kind", ["pack", "idx"])
def test_a_pack_that_was_damaged_on_the_server_is_refused(world: World, kind: str) -> None:
    """What the server itself has archived wrong is told by git's checksums; the repository is named."""
    git(world.place.parent / "scratch/tree", "repack", "-a", "-d", "--quiet")
    packs = (world.place.parent / "scratch/tree/.git/objects/pack").glob("pack-*")
    world.members = [one for one in world.members if "/objects/" not in one[0].name]
    for path in packs:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= path.suffix == f".{kind}"
        world.members.append(member(f"./.git/objects/pack/{path.name}", bytes(content)))
    world.publish()
    with pytest.raises(
        ArchiveBroken, match=r"the snapshot of git\.example/org/repo is damaged on the server"
    ) as caught:
        world.restore()
    assert f".{kind}" in str(caught.value) and "git clone" in caught.value.advice and world.left() == []


def test_starts_over_when_the_snapshot_is_replaced(world: World) -> None:
    """A snapshot that is replaced during the download is downloaded anew, whole."""
    new = commit(world.upstream, "other", "x" * 100_000)
    old = world.publish([member("./padding", os.urandom(300_000))])
    world.members = snapshot_members(world.upstream, world.place.parent / "s2", origin=UPSTREAM)
    old.cuts, old.before = [None, 100_000], lambda count: world.publish() if count == 2 else None
    world.restore()
    assert git(world.target, "rev-parse", "HEAD") == new
    assert git(world.target, "status", "--short") == ""


def test_gives_up_when_it_never_stays_the_same(world: World) -> None:
    """A snapshot that breaks off again and again is an error that leaves nothing."""
    world.publish(generating=True, cuts=[2000] * 9)
    with pytest.raises(ObjectChanged):
        world.restore()
    assert world.left() == []


def test_says_that_there_is_no_snapshot(world: World) -> None:
    """Without a snapshot the user is told what else may work."""
    del world.parts.server.objects[SNAPSHOT]
    with pytest.raises(NotCached) as caught:
        world.restore()
    assert f"git clone {world.parts.server.url}{BASE}" in caught.value.advice
    assert world.left() == []


def test_never_touches_what_is_there(world: World) -> None:
    """A directory with something in it is refused before anything is downloaded."""
    world.target.mkdir()
    (world.target / "mine").write_text("x")
    with pytest.raises(BadUsage, match="not empty"):
        world.restore()
    assert not world.parts.server.seen


def test_fills_an_empty_directory(world: World) -> None:
    """An empty directory is filled."""
    world.target.mkdir()
    world.restore()
    assert git(world.target, "diff-files", "--name-only") == ""
    assert world.left() == ["repo"]


def test_applies_the_delta_bundle(world: World) -> None:
    """The bundle that the server offers brings the checkout to the mirror's commit."""
    new = world.offer_bundle()
    world.restore()
    assert git(world.target, "rev-parse", "HEAD", "origin/trunk").split() == [new, new]
    assert git(world.target, "status", "--short", "--branch") == "## trunk...origin/trunk"
    assert world.parts.progress.warned == []


def test_leaves_the_bundle_out_on_request(world: World) -> None:
    """Without the bundle the checkout stays at the snapshot's commit."""
    world.offer_bundle()
    world.restore(use_bundle=False)
    assert git(world.target, "rev-parse", "HEAD") == world.commit


@pytest.mark.parametrize("fault", ["broken", "missing", "elsewhere"])
def test_a_bad_bundle_is_only_a_warning(world: World, fault: str) -> None:
    """A bundle that cannot be had or applied is warned of, and the checkout stays as the snapshot has it."""
    world.offer_bundle(broken=fault == "broken")
    headers = world.parts.server.objects[SNAPSHOT].headers
    headers["X-Cachew-Bundle-Url"] = {
        "broken": headers["X-Cachew-Bundle-Url"],
        "missing": f"{BASE}/snapshot.bundle?base=missing",
        "elsewhere": "http://127.0.0.1:1/bundle",
    }[fault]
    world.restore()
    assert git(world.target, "rev-parse", "HEAD") == world.commit
    assert "bundle" in world.parts.progress.warned[0]
    assert git(world.target, "status", "--short") == ""


def test_no_content_means_up_to_date(world: World) -> None:
    """A bundle that is answered with 204 is neither applied nor warned of."""
    world.parts.server.objects[SNAPSHOT].headers["X-Cachew-Bundle-Url"] = f"{BASE}/snapshot.bundle?base=x"
    world.parts.server.answers[f"{BASE}/snapshot.bundle?base=x"] = (204, None)
    world.restore()
    assert world.parts.progress.warned == []


def test_fetches_what_is_wanted_through_the_server(world: World) -> None:
    """A wanted ref and commit are ensured on the server and pulled through it."""
    new = commit(world.upstream, "new", "new\n")
    git(world.upstream, "checkout", "--quiet", "-b", "side")
    side = commit(world.upstream, "side", "side\n")
    git(world.upstream, "checkout", "--quiet", "trunk")
    git(world.upstream, "branch", "--quiet", "-D", "side")
    answer = {"refs": {"refs/heads/trunk": new}, "missing_commits": [], "fetched": True}
    world.parts.server.answers[f"{BASE}/ensure-refs"] = (200, answer)
    world.parts.server.repositories[BASE] = str(world.upstream / ".git")
    world.restore(wanted=parse_wanted([f"trunk={new}"], [side]))
    assert git(world.target, "rev-parse", "HEAD") == new
    assert git(world.target, "cat-file", "-t", side) == "commit"
    assert git(world.target, "remote", "get-url", "origin") == UPSTREAM
    assert (world.target / "new").read_text() == "new\n"
    (asked,) = [seen for seen in world.parts.server.requests("POST") if seen.path.endswith("ensure-refs")]
    assert asked.body == f'{{"refs": {{"refs/heads/trunk": "{new}"}}, "commits": ["{side}"]}}'.encode()
    assert {s.headers.get("Authorization") for s in world.parts.server.seen} == {"Bearer secret"}
    assert b"secret" not in (world.target / ".git/config").read_bytes()


def test_asks_nobody_when_everything_wanted_is_there(world: World) -> None:
    """Commits that the snapshot has need no server."""
    world.restore(wanted=parse_wanted([f"refs/heads/trunk={world.commit}"], [world.commit]))
    assert world.parts.server.requests("POST") == []


def test_stays_on_a_rewritten_branch_with_a_warning(world: World) -> None:
    """When the upstream's branch is no fast-forward the wanted commit is there and the checkout stays."""
    git(world.upstream, "checkout", "--quiet", "--orphan", "fresh")
    new = commit(world.upstream, "other", "x")
    git(world.upstream, "branch", "--force", "trunk", "fresh")
    answer = {"refs": {"refs/heads/trunk": new}, "missing_commits": [], "fetched": True}
    world.parts.server.answers[f"{BASE}/ensure-refs"] = (200, answer)
    world.parts.server.repositories[BASE] = str(world.upstream / ".git")
    world.restore(wanted=parse_wanted(["trunk="], []))
    assert git(world.target, "rev-parse", "HEAD", "origin/trunk").split() == [world.commit, new]
    assert "git reset --hard origin/trunk" in world.parts.progress.warned[0]


def test_a_wish_waits_for_a_server_that_is_busy(world: World) -> None:
    """For as long as it says, and no more than a few times."""
    answer = {"refs": {"refs/heads/trunk": world.commit}, "missing_commits": [], "fetched": False}
    world.parts.server.answers[f"{BASE}/ensure-refs"] = (200, answer)
    world.parts.server.refusals[f"{BASE}/ensure-refs"] = [(503, {"Retry-After": "20"}), (429, {"Retry-After": "10"})]
    world.restore(wanted=parse_wanted(["trunk="], []))
    assert world.parts.pauses == [20.0, 10.0]
    world.parts.server.refusals[f"{BASE}/ensure-refs"] = [(429, {"Retry-After": "10"})] * 9
    with pytest.raises(ServerRefused, match="429"):
        world.restore(wanted=parse_wanted(["trunk="], []), force=True)
    assert world.parts.pauses == [20.0, 10.0, 10.0, 10.0]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((200, {"refs": {}, "missing_commits": ["ff" * 20], "fetched": True}), "no commit ffff"),
        ((200, {"refs": {"refs/heads/trunk": ""}, "missing_commits": []}), "no refs/heads/trunk"),
        ((502, {"error": "upstream is down"}), "502"),
    ],
)
def test_a_wish_that_cannot_be_met_leaves_nothing(world: World, answer: Any, error: str) -> None:
    """A commit or ref that is not to be had fails the restore, which leaves nothing."""
    world.parts.server.answers[f"{BASE}/ensure-refs"] = answer
    with pytest.raises(ClientError, match=error):
        world.restore(wanted=parse_wanted(["trunk="], ["ff" * 20]))
    assert world.left() == []


@pytest.mark.parametrize(("refs", "commits"), [(["main=xyz"], []), (["a b="], []), (["a..b="], []), ([], ["abc123"])])
def test_malformed_wishes(refs: list[str], commits: list[str]) -> None:
    """Half ids and impossible names are refused."""
    with pytest.raises(BadUsage):
        parse_wanted(refs, commits)


def lfs_snapshot(content: bytes, name: str | None = None) -> bytes:
    """Return an LFS snapshot with one object."""
    oid = name or hashlib.sha256(content).hexdigest()
    directories = [
        "./",
        "./lfs/",
        "./lfs/objects/",
        f"./lfs/objects/{oid[:2]}/",
        f"./lfs/objects/{oid[:2]}/{oid[2:4]}/",
    ]
    members = [member(directory, type=tarfile.DIRTYPE, mode=0o755) for directory in directories]
    return framed(tar([*members, member(f"./lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}", content)]))


def add_pointer(world: World, content: bytes) -> None:
    """Commit an LFS pointer and publish a snapshot that has it."""
    oid = hashlib.sha256(content).hexdigest()
    commit(world.upstream, ".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
    commit(world.upstream, "large.bin", pointer)
    world.members = snapshot_members(world.upstream, world.place.parent / "lfs", origin=UPSTREAM)
    world.publish()


def test_fetches_lfs_objects(world: World) -> None:
    """LFS objects take the place of their pointers, and git sees no change."""
    content = os.urandom(5000)
    add_pointer(world, content)
    world.parts.server.objects[f"{BASE}/lfs-snapshot.tar.zst"] = Stored(lfs_snapshot(content))
    world.restore(lfs=True)
    oid = hashlib.sha256(content).hexdigest()
    assert (world.target / f".git/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}").read_bytes() == content
    assert world.parts.progress.warned == []
    assert (world.target / "large.bin").read_bytes() == content
    assert git(world.target, "status", "--short") == ""
    assert all(b"git lfs" in hook.read_bytes() for hook in (world.target / ".git").glob("hooks/*"))


def test_warns_without_an_lfs_snapshot(world: World) -> None:
    """When the server has no LFS snapshot the checkout is there, with advice."""
    world.restore(lfs=True)
    assert "git lfs pull" in world.parts.progress.warned[0]
    assert git(world.target, "status", "--short") == ""


def test_refuses_lfs_objects_with_another_content(world: World) -> None:
    """An LFS object that is not what its name says fails the restore."""
    world.parts.server.objects[f"{BASE}/lfs-snapshot.tar.zst"] = Stored(lfs_snapshot(b"evil", "ab" * 32))
    with pytest.raises(DownloadCorrupt):
        world.restore(lfs=True)
    assert world.left() == []


def test_a_refusal_advises(world: World) -> None:
    """A server that refuses says what to do."""
    world.publish(generating=True, statuses=[403])
    with pytest.raises(ServerRefused) as caught:
        world.restore()
    assert caught.value.advice
    assert world.left() == []


# --- another default branch -------------------------------------------------------------------------------------------


def change_default(world: World, *, head: str | None, bundle: bool = True, gone: bool = False) -> str:
    """Let the upstream's HEAD be a new branch ``develop``, say so as a server does, and return its tip."""
    git(world.upstream, "checkout", "-q", "-b", "develop")
    new = commit(world.upstream, "new", "new\n")
    if gone:
        git(world.upstream, "branch", "-D", "trunk")
    if bundle:
        file = world.place.parent / "delta"
        git(world.upstream, "bundle", "create", str(file), "HEAD", "develop", f"^{world.commit}")
        path = f"{BASE}/snapshot.bundle?base={world.commit}"
        world.parts.server.objects[path] = Stored(file.read_bytes())
        world.parts.server.objects[SNAPSHOT].headers["X-Cachew-Bundle-Url"] = path
    if head:
        world.parts.server.objects[SNAPSHOT].headers["X-Cachew-Head"] = head
    world.parts.server.repositories[BASE] = str(world.upstream / ".git")
    return new


@pytest.mark.parametrize(
    ("head", "bundle"), [(None, True), ("refs/heads/develop", True), ("refs/heads/develop", False)]
)
@pytest.mark.parametrize("gone", [False, True])
def test_a_bundle_of_another_branch_moves_only_that(world: World, head: str | None, bundle: bool, gone: bool) -> None:
    """The old branch stays where it is upstream, HEAD follows to the new default as in a clone, a lost one is named."""
    new = change_default(world, head=head, bundle=bundle, gone=gone)
    world.restore()
    tree = world.target
    assert git(tree, "status", "--short", "--branch") == "## develop...origin/develop"
    assert git(tree, "rev-parse", "HEAD") == new
    assert (tree / "new").read_text() == "new\n"
    refs = git(tree, "for-each-ref", "--format=%(refname) %(objectname)").split("\n")
    trunk = [] if gone else [f"refs/remotes/origin/trunk {world.commit}"]
    assert [ref for ref in refs if "trunk" in ref] == trunk
    assert git(tree, "symbolic-ref", "refs/remotes/origin/HEAD") == "refs/remotes/origin/develop"
    said = "trunk is gone upstream" if gone else "trunk is no more the upstream's default branch"
    assert any(said in text for text in world.parts.progress.said)


def test_another_default_that_can_not_be_had(world: World) -> None:
    """The checkout stays on its branch, which is not moved, and how to go there is told."""
    change_default(world, head="refs/heads/develop")
    world.parts.server.repositories.clear()
    world.restore()
    assert git(world.target, "rev-parse", "HEAD", "trunk").split("\n") == [world.commit, world.commit]
    assert git(world.target, "status", "--porcelain") == ""
    assert "default branch is develop now" in world.parts.progress.warned[-1]


def test_a_bundle_that_does_not_say_its_branch(world: World) -> None:
    """A bundle of HEAD alone moves no branch."""
    new = change_default(world, head=None)
    file = world.place.parent / "delta"
    git(world.upstream, "bundle", "create", str(file), "HEAD", f"^{world.commit}")
    world.parts.server.objects[f"{BASE}/snapshot.bundle?base={world.commit}"] = Stored(file.read_bytes())
    world.restore()
    assert git(world.target, "rev-parse", "trunk") == world.commit != new
    assert "which branch" in world.parts.progress.warned[-1]


def test_without_bundle_the_default_is_left_alone(world: World) -> None:
    """``--no-bundle`` is the snapshot as it is."""
    change_default(world, head="refs/heads/develop")
    world.restore(use_bundle=False)
    assert git(world.target, "symbolic-ref", "HEAD") == "refs/heads/trunk"


# --- names of any bytes -----------------------------------------------------------------------------------------------


def test_refs_of_any_bytes(parts: Parts, tmp_path: Path) -> None:
    """Branches and tags that are no UTF-8, or hold what Unicode takes for a line's end, are restored and moved."""
    world = World(parts, tmp_path)
    for name in ("issue_57_r\udcc3v", "line\u2028separator", "blank\u00a0", "🦊", "-dash"):
        git(world.upstream, "update-ref", f"refs/tags/{name}", "HEAD")
        git(world.upstream, "update-ref", f"refs/heads/{name}", "HEAD")
        git(world.upstream, "symbolic-ref", "HEAD", f"refs/heads/{name}")
        world.members = snapshot_members(
            world.upstream, tmp_path / f"scratch-{len(name)}-{ord(name[0])}", origin=UPSTREAM
        )
        world.commit = git(world.upstream, "rev-parse", "HEAD")
        world.publish()
        new = commit(world.upstream, "new", f"{name!r}\n")
        file = tmp_path / "delta"
        git(world.upstream, "bundle", "create", str(file), f"^{world.commit}", "HEAD", f"refs/heads/{name}")
        path = f"{BASE}/snapshot.bundle?base={world.commit}"
        parts.server.objects[path] = Stored(file.read_bytes())
        parts.server.objects[SNAPSHOT].headers["X-Cachew-Bundle-Url"] = path
        world.target = world.place / f"repo-{len(name)}-{ord(name[0])}"
        world.restore()
        assert parts.progress.warned == []
        assert git(world.target, "symbolic-ref", "HEAD") == f"refs/heads/{name}"
        assert git(world.target, "rev-parse", "HEAD", "@{upstream}").split("\n") == [new, new]
        assert git(world.target, "status", "--porcelain") == ""


# --- over an existing checkout ----------------------------------------------------------------------------------------


@pytest.fixture
def restored(world: World) -> World:
    """A checkout, with what is its user's own, and something newer upstream."""
    world.restore()
    (world.target / ".git/info/exclude").write_text("*.o\nbuild\n")
    (world.target / ".git/hooks").mkdir()
    (world.target / ".git/hooks/pre-commit").write_text("#!/bin/sh\n")
    git(world.target, "config", "user.email", "me@example.org")
    (world.target / "a.o").write_text("object")
    (world.target / "build/deep").mkdir(parents=True)
    (world.target / "build/deep/x").write_text("x")
    world.offer_bundle()
    return world


def test_a_clean_checkout_is_replaced(restored: World) -> None:
    """What is newer is there, and so is what git ignores, the config, hooks and excludes; nothing else is left."""
    inode = restored.target.stat().st_ino
    restored.restore()
    tree = restored.target
    assert git(tree, "rev-parse", "HEAD") == git(restored.upstream, "rev-parse", "HEAD")
    assert git(tree, "status", "--short", "--branch") == "## trunk...origin/trunk"
    assert (tree / "a.o").read_text() == "object" and (tree / "build/deep/x").read_text() == "x"
    assert git(tree, "config", "user.email") == "me@example.org"
    assert (tree / ".git/hooks/pre-commit").exists()
    assert tree.stat().st_ino != inode and restored.left() == ["repo"]


def dirt(tree: Path) -> dict[str, Callable[[], object]]:
    """Return ways to have something of one's own."""
    return {
        "changed": lambda: (tree / "empty").write_text("changed"),
        "staged": lambda: ((tree / "empty").write_text("changed"), git(tree, "add", "empty")),
        "untracked": lambda: (tree / "untracked").write_text("new"),
        "committed": lambda: commit(tree, "own", "own\n"),
        "on a branch": lambda: (
            git(tree, "checkout", "-q", "-b", "own"), commit(tree, "own", "own\n"), git(tree, "checkout", "-q", "trunk")
        ),
        "stashed": lambda: ((tree / "empty").write_text("changed"), git(tree, "stash")),
        "half-done": lambda: (tree / ".git/MERGE_HEAD").write_text(git(tree, "rev-parse", "HEAD")),
    }  # fmt: skip


@pytest.mark.parametrize("kind", list(dirt(Path())))
def test_a_dirty_checkout_is_replaced_by_force_only(restored: World, kind: str) -> None:
    """Whatever only this directory has is not lost unasked."""
    dirt(restored.target)[kind]()
    before = git(restored.target, "rev-parse", "HEAD")
    with pytest.raises(BadUsage) as failure:
        restored.restore()
    assert "--force" in failure.value.advice and git(restored.target, "rev-parse", "HEAD") == before
    assert restored.left() == ["repo"]
    restored.restore(force=True)
    assert git(restored.target, "rev-parse", "HEAD") == git(restored.upstream, "rev-parse", "HEAD")
    assert git(restored.target, "status", "--porcelain") == ""


def test_another_repository_is_never_replaced(restored: World, tmp_path: Path) -> None:
    """Neither a checkout of something else, nor any other directory, not by force."""
    git(restored.target, "remote", "set-url", "origin", "https://git.example/org/other")
    for force in (False, True):
        with pytest.raises(BadUsage, match=r"not a checkout of git\.example/org/repo"):
            restored.restore(force=force)
    shutil.rmtree(restored.target / ".git")
    with pytest.raises(BadUsage, match="not empty"):
        restored.restore(force=True)


@pytest.mark.parametrize(
    "origin", [f"{UPSTREAM}.git", "git@git.example:org/repo.git", "ssh://git@git.example/org/repo"]
)
def test_an_origin_may_be_spelt_otherwise(restored: World, origin: str) -> None:
    """The repository counts, not how its address is written."""
    git(restored.target, "remote", "set-url", "origin", origin)
    restored.restore()
    assert git(restored.target, "remote", "get-url", "origin") == origin


def test_a_replacement_that_fails_changes_nothing(restored: World) -> None:
    """An archive that is damaged, and a target that can't be moved, leave the old checkout as it was."""
    before = git(restored.target, "rev-parse", "HEAD")
    restored.publish(compress=lambda content: framed(content)[:-100] + b"x" * 100)
    with pytest.raises(ClientError):
        restored.restore()
    assert git(restored.target, "rev-parse", "HEAD") == before and git(restored.target, "status", "--porcelain") == ""
    assert (restored.target / "a.o").exists() and restored.left() == ["repo"]
