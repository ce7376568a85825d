"""What ``git-remote-cachew`` does for a new repository, and what it tells when that can't be done."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachew.cli.remoteseed import RemoteRepository, prepare, tidy
from cachew.client.asking import AskedProgram
from cachew.client.gitdir import GitDirectory
from cachew.client.helperoptions import HelperOptions
from cachew.client.repositorygit import RepositoryGit
from tests.client.test_workers import FewThreads
from tests.fakes.archives import git, make_upstream, seekable, snapshot_members, tar
from tests.fakes.cachew_server import CachewServer, Stored, running_server
from tests.functional.gitcgi import git_environment

PATH = "/git/git.example/org/repo"
CONFIG = '[remote "origin"]\n\turl = cachew::{url}\n'


@pytest.fixture
def server() -> Iterator[CachewServer]:
    """A server that has a snapshot of one repository."""
    with running_server() as state:
        yield state


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's empty home."""
    for name, value in git_environment(tmp_path, {}).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def store(server: CachewServer, home: Path) -> None:
    """Have the server keep a snapshot."""
    upstream = make_upstream(home / "upstream")
    git(upstream, "repack", "-a", "-d", "-q")
    members = snapshot_members(upstream, home / "scratch", origin="https://git.example/org/repo")
    server.objects[f"{PATH}/snapshot.tar.zst"] = Stored(seekable(tar(members)))


def remote_of(home: Path, url: str, *, is_clone: bool = False, object_format: str = "sha1") -> RemoteRepository:
    """Make a repository with nothing but a remote."""
    (home / "new").mkdir()
    git(home / "new", "init", "-q", f"--object-format={object_format}")
    directory = home / "new/.git"
    with (directory / "config").open("a") as config:
        config.write(CONFIG.format(url=url))
    environ = {**os.environ, "GIT_DIR": str(directory)}
    return RemoteRepository(
        GitDirectory(os.fsencode(directory)),
        "origin",
        url,
        config=lambda: AskedProgram("git", "config", "--null", "--list", environ=environ).answer(),
        is_clone=is_clone,
    )


def configured(home: Path, name: str) -> str:
    """Return a setting of the new repository."""
    return git(home / "new", "config", "--default", "", "--get", name).strip()


@pytest.mark.parametrize("is_clone", [True, False])
def test_a_new_repository_is_seeded(home: Path, server: CachewServer, is_clone: bool) -> None:
    """With the objects and refs of the snapshot; git-lfs is told the plain address."""
    store(server, home)
    remote = remote_of(home, f"{server.url}{PATH}", is_clone=is_clone)
    assert prepare(remote, HelperOptions(), seeds=True)
    assert "refs/bundles/heads/trunk" in git(home / "new", "for-each-ref", "--format=%(refname)")
    git(home / "new", "fsck", "--strict")
    assert configured(home, "remote.origin.lfsurl") == f"{server.url}{PATH}/info/lfs"


@pytest.mark.parametrize(("asks", "token"), [("true", ""), ("", ""), ("false", ""), ("true", "7")])
def test_bundles_are_not_fetched_beside_the_snapshot(home: Path, server: CachewServer, asks: str, token: str) -> None:
    """Git is told for the time of the fetch that it has them, where it asks for them and doesn't know what it has."""
    store(server, home)
    remote = remote_of(home, f"{server.url}{PATH}")
    for name, value in (("transfer.bundleURI", asks), ("fetch.bundleCreationToken", token)):
        if value:
            git(home / "new", "config", name, value)
    assert prepare(remote, HelperOptions(), seeds=True)
    assert configured(home, "fetch.bundleCreationToken") == (token or (str(2**64 - 1) if asks == "true" else ""))
    tidy(remote)
    assert configured(home, "fetch.bundleCreationToken") == token


def test_what_is_not_seeded_takes_the_bundles(home: Path, server: CachewServer) -> None:
    """As without the helper."""
    remote = remote_of(home, f"{server.url}{PATH}")
    git(home / "new", "config", "transfer.bundleURI", "true")
    assert not prepare(remote, HelperOptions(), seeds=True)
    assert configured(home, "fetch.bundleCreationToken") == ""


def test_an_address_of_git_lfs_that_is_there_stays(home: Path, server: CachewServer) -> None:
    """What the user has written is his."""
    remote = remote_of(home, f"{server.url}{PATH}")
    git(home / "new", "config", "remote.origin.lfsurl", "https://lfs.example/")
    assert not prepare(remote, HelperOptions(), seeds=False)
    assert configured(home, "remote.origin.lfsurl") == "https://lfs.example/"


def test_git_lfs_is_told_by_a_system_that_gives_no_thread(
    home: Path, server: CachewServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be done beside the rest is done before it, and the fetch goes on."""
    remote = remote_of(home, f"{server.url}{PATH}")
    few = FewThreads(0)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: few.start(thread))
    assert not prepare(remote, HelperOptions(), seeds=False)
    assert configured(home, "remote.origin.lfsurl") == f"{server.url}{PATH}/info/lfs"


def test_a_fetch_goes_on_though_git_lfs_cannot_be_told(home: Path, server: CachewServer) -> None:
    """Where no process can be started for it, the next fetch tells it; a mirror may keep what a seed has added."""
    remote = remote_of(home, f"{server.url}{PATH}")
    remote.git = RepositoryGit(program=str(home / "absent"), environ={})
    assert not prepare(remote, HelperOptions(), seeds=False)
    git(home / "new", "config", "core.bare", "true")
    tidy(remote)


@pytest.mark.parametrize("pushes_elsewhere", [False, True])
def test_a_remote_that_has_got_another_address(home: Path, server: CachewServer, pushes_elsewhere: bool) -> None:
    """Its LFS objects are not sent to the repository that it was before; where it has two addresses the first stays."""
    former = f"{server.url}/git/git.example/org/former/info/lfs"
    remote = remote_of(home, f"{server.url}{PATH}")
    git(home / "new", "config", "remote.origin.lfsurl", former)
    if pushes_elsewhere:
        git(home / "new", "config", "remote.origin.pushurl", f"{server.url}{PATH}")
    prepare(remote, HelperOptions(), seeds=False)
    assert configured(home, "remote.origin.lfsurl") == (former if pushes_elsewhere else f"{server.url}{PATH}/info/lfs")


def test_a_second_remote_has_an_address_of_its_own(home: Path, server: CachewServer) -> None:
    """However many go by way of the server."""
    remote = remote_of(home, f"{server.url}{PATH}")
    git(home / "new", "config", "remote.fork.url", "cachew::x")
    git(home / "new", "config", "remote.fork.lfsurl", f"{server.url}/git/git.example/me/repo/info/lfs")
    prepare(remote, HelperOptions(), seeds=False)
    assert configured(home, "remote.origin.lfsurl") == f"{server.url}{PATH}/info/lfs"
    assert configured(home, "remote.fork.lfsurl").endswith("/me/repo/info/lfs")


def test_without_a_snapshot_git_goes_its_own_way(
    home: Path, server: CachewServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Why is told once, without the credentials of the address; who wants to hear nothing hears nothing."""
    address = f"{server.url}{PATH}".replace("://", "://bob:s3cr3t@")
    remote = remote_of(home, address)
    assert not prepare(remote, HelperOptions(), seeds=True)
    said = capsys.readouterr().err
    assert "is fetched without its snapshot" in said and "s3cr3t" not in said
    quiet = HelperOptions()
    quiet.note(b"option verbosity 0")
    assert not prepare(remote, quiet, seeds=True)
    assert capsys.readouterr().err == ""
    assert not git(home / "new", "for-each-ref")


@pytest.mark.parametrize("setting", ["fetch.fsckObjects", "transfer.fsckObjects"])
def test_objects_that_are_to_be_checked_come_by_git(
    home: Path, server: CachewServer, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever has git look at every object that comes gets them by git."""
    store(server, home)
    remote = remote_of(home, f"{server.url}{PATH}")
    git(home / "new", "config", setting, "true")
    assert not prepare(remote, HelperOptions(), seeds=True)
    assert "transfer.fsckObjects" in capsys.readouterr().err and not server.seen


def test_the_proxy_of_the_remote(home: Path, server: CachewServer) -> None:
    """It comes before that of all remotes; an empty one is none."""
    store(server, home)
    remote = remote_of(home, f"{server.url}{PATH}")
    git(home / "new", "config", "http.proxy", "http://127.0.0.1:9")
    git(home / "new", "config", "remote.origin.proxy", "")
    assert prepare(remote, HelperOptions(), seeds=True)


def test_a_server_whose_key_is_pinned(home: Path, server: CachewServer, capsys: pytest.CaptureFixture[str]) -> None:
    """What only git checks is checked: nothing comes by another way."""
    store(server, home)
    remote = remote_of(home, f"{server.url}{PATH}")
    git(home / "new", "config", f"http.{server.url}.pinnedPubkey", "sha256//AAAA")
    assert not prepare(remote, HelperOptions(), seeds=True)
    assert "http.pinnedpubkey" in capsys.readouterr().err
    assert not server.requests("HEAD")


def test_the_filter_that_is_asked_for(home: Path, server: CachewServer) -> None:
    """A clone without blobs is seeded with a snapshot without them."""
    options = HelperOptions()
    options.note(b"option filter blob:none")
    prepare(remote_of(home, f"{server.url}{PATH}"), options, seeds=True)
    assert server.seen[0].path.endswith("/snapshot.tar.zst?filter=blob:none")


@pytest.mark.parametrize("mirror", [True, False])
def test_a_mirror_has_no_other_refs_than_its_upstream(home: Path, server: CachewServer, mirror: bool) -> None:
    """The refs of the snapshot go when git has fetched, but stay in other repositories."""
    store(server, home)
    remote = remote_of(home, f"{server.url}{PATH}")
    assert prepare(remote, HelperOptions(), seeds=True)
    if mirror:
        git(home / "new", "config", "remote.origin.mirror", "true")
    tidy(remote)
    assert bool(git(home / "new", "for-each-ref", "refs/bundles")) != mirror


def test_what_several_users_share(home: Path, server: CachewServer) -> None:
    """Others may read the packs and refs of a seed as they may what git writes, whatever the user's umask."""
    store(server, home)
    old = os.umask(0o077)
    try:
        remote = remote_of(home, f"{server.url}{PATH}")
        git(home / "new", "config", "core.sharedRepository", "group")
        assert prepare(remote, HelperOptions(), seeds=True)
    finally:
        os.umask(old)
    found = [*(home / "new/.git/objects/pack").iterdir(), home / "new/.git/packed-refs"]
    assert {path.stat().st_mode & 0o777 for path in found} == {0o440, 0o660}


def test_a_bare_repository_is_pushed_on_as_it_came(home: Path, server: CachewServer) -> None:
    """``git push --mirror`` from it sends the refs of its upstream and no others."""
    store(server, home)
    remote = remote_of(home, f"{server.url}{PATH}", is_clone=True)
    git(home / "new", "config", "core.bare", "true")
    assert prepare(remote, HelperOptions(), seeds=True)
    tidy(remote)
    assert not git(home / "new", "for-each-ref")


def test_tables_of_refs_are_of_the_format_that_is_known(
    home: Path, server: CachewServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A clone whose refs are no files takes no snapshot of another object format than its config has."""
    store(server, home)
    remote = remote_of(home, f"{server.url}{PATH}", is_clone=True, object_format="sha256")
    (home / "new/.git/reftable").mkdir(exist_ok=True)
    assert not prepare(remote, HelperOptions(), seeds=True)
    assert "another object format" in capsys.readouterr().err
    assert not list((home / "new/.git/objects/pack").iterdir())


def test_a_mirror_of_something_else(home: Path, server: CachewServer) -> None:
    """Another remote that is a mirror's says nothing of this one."""
    store(server, home)
    remote = remote_of(home, f"{server.url}{PATH}")
    assert prepare(remote, HelperOptions(), seeds=True)
    git(home / "new", "config", "remote.other.mirror", "true")
    tidy(remote)
    assert git(home / "new", "for-each-ref", "refs/bundles")
