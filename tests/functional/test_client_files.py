"""The client that a server hands out: on a bare machine, with whatever Python is there."""

import hashlib
import shutil
import sys
from pathlib import Path

import pytest_twisted

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitcgi import git_environment
from tests.functional.gitclient import Git, Result, Run
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream

CONFIG = '[git]\nref-check-interval = "0s"'


def pythons() -> list[str]:
    """Return the oldest and the newest Python here that the client is for."""
    found = [(version, shutil.which(f"python3.{version}")) for version in range(9, 16)]
    known = {version: path for version, path in found if path}
    for path in Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python"):
        known[int(path.parents[1].name.split(".")[1])] = str(path)
    usable = {version: path for version, path in known.items() if version >= 9} or {0: sys.executable}
    return list(dict.fromkeys([usable[min(usable)], usable[max(usable)]]))


async def program(git: Git, *words: str, environment: dict[str, str] | None = None) -> Result:
    """Run a program in a user's home, with none of this machine's configuration."""
    from twisted.internet import reactor

    run = Run(b"")
    variables = git_environment(git.home, {}) | {"CACHEW_PREFIX": f"{git.home}/.local"} | (environment or {})
    argv = ["setsid", "env", f"--chdir={git.home}", *words]
    reactor.spawnProcess(run, "setsid", argv, env=variables, path=None)
    result = await run.done
    assert result.code == 0, result.err
    return result


async def fetched(cachew: Cachew, name: str) -> bytes:
    """Return one of the client's files."""
    response = await cachew.get_own(f"client/{name}")
    assert response.code == 200
    body = bytes(await response.content())
    assert response.headers.getRawHeaders("ETag") == [f'"{hashlib.sha256(body).hexdigest()}"']
    return body


@pytest_twisted.ensureDeferred
async def test_from_nothing_to_a_fast_clone(upstream: Upstream, start: Start, git: Git) -> None:
    """The three commands of the README: install, set up, clone."""
    repositories.make_repository(upstream.path("org/repo"), commits=10)
    cachew = await start(CONFIG)
    await (await cachew.get("org/repo/snapshot.tar.zst")).content()
    await cachew.quiet()
    (git.home / "install.sh").write_bytes(await fetched(cachew, "install.sh"))
    # Names with blanks and quotes, a place below the directory, and a user who gives nothing to others.
    odd = git.home / "an 'odd\" place"
    (git.home / "a python").mkdir()
    (git.home / "a python/python3").symlink_to(sys.executable)
    there = {"CACHEW_PREFIX": odd.name, "PATH": f"{git.home}/a python:/usr/local/bin:/usr/bin:/bin"}
    for _ in range(2):
        said = await program(git, "sh", "-c", "umask 077; exec sh install.sh", environment=there)
        assert f"cachew git setup {cachew.url} --fast" in said.out
    assert (odd / "share/cachew/cachew/cli/main.py").stat().st_mode & 0o777 == 0o644
    path = {"PATH": f"{odd}/bin:/usr/local/bin:/usr/bin:/bin"}
    assert (await program(git, "cachew", "--version", environment=path)).out.startswith("cachew ")
    await program(
        git,
        "cachew",
        "git",
        "clone",
        "-q",
        "https://git.example/org/repo",
        "one",
        environment=path | {"CACHEW_URL": cachew.url},
    )
    assert not (git.home / ".gitconfig").exists()
    await program(git, "cachew", "git", "setup", cachew.url, "git.example", "--fast", environment=path)
    await program(git, "git", "clone", "-q", "https://git.example/org/repo", "two", environment=path)
    for name in ("one", "two"):
        assert (await git.run("-C", name, "for-each-ref", "refs/bundles")).out
        assert (await git.run("-C", name, "config", "remote.origin.url")).out == "https://git.example/org/repo"
    assert "BAD" not in (await program(git, "cachew", "doctor", environment=path)).out
    assert sorted(one.name for one in (odd / "share").iterdir()) == ["cachew"]


@pytest_twisted.ensureDeferred
async def test_any_python_runs_it(upstream: Upstream, start: Start, git: Git) -> None:
    """The oldest and the newest Python here restore a snapshot with nothing but themselves and the zstd program."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=10)
    cachew = await start(CONFIG)
    (git.home / "cachew.pyz").write_bytes(await fetched(cachew, "cachew.pyz"))
    for number, python in enumerate(pythons()):
        words = ("-I", "-S", "cachew.pyz", "--url", cachew.url, "git", "restore", "https://git.example/org/repo")
        told = await program(git, python, *words, f"restored{number}", "--quiet")
        assert (told.out, told.err) == ("", "")
        assert (await git.run("-C", f"restored{number}", "rev-parse", "HEAD")).out == repository.commit()
        assert (await git.run("-C", f"restored{number}", "status", "--porcelain")).out == ""
