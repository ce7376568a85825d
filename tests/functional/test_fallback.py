"""A mirror that can't serve is nobody's trouble but its own."""

import contextlib
from typing import Any

import pytest_twisted

from cachew.plumbing.errors import CachewError
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"


@pytest_twisted.ensureDeferred
async def test_a_mirror_that_lost_its_packs(
    upstream: Upstream, git: Git, start: Start, flush_logged_errors: Any
) -> None:
    """Clients of a mirror without its packs get everything all the same, and the mirror is made anew."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=20, tags=["v1"])
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    mirror = await cachew.mirrored("org/repo")
    await cachew.quiet()
    for path in mirror.directory.glob("objects/pack/*"):
        path.unlink()
    await git.run("clone", "-q", URL, "clone")
    await git.run("-C", "clone", "fsck", "--strict")
    assert (await git.run("-C", "clone", "rev-parse", "HEAD")).out == repository.commit("HEAD")
    await cachew.quiet()
    again = await cachew.mirrored("org/repo")
    assert again.missing(repository.refs().values()) == []
    flush_logged_errors()


@pytest_twisted.ensureDeferred
async def test_a_mirror_with_a_damaged_pack(
    upstream: Upstream, git: Git, start: Start, flush_logged_errors: Any
) -> None:
    """A damaged pack is found out by the next repack; neither the mirror nor what was made of it is served again."""
    repositories.make_repository(upstream.path("org/repo"), commits=20, size=5000)
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    mirror = await cachew.mirrored("org/repo")
    await cachew.quiet()
    (pack,) = mirror.directory.glob("objects/pack/*.pack")
    content = bytearray(pack.read_bytes())
    content[2000:3000] = bytes(1000)
    pack.chmod(0o600)
    pack.write_bytes(content)
    await git.run("clone", "-q", URL, "first", check=False)
    with contextlib.suppress(CachewError):
        await mirror.maintenance.repack()
    await git.run("clone", "-q", URL, "second")
    await git.run("-C", "second", "fsck", "--strict")
    again = await cachew.mirrored("org/repo")
    await git.run("clone", "-q", URL, "third")
    assert again.ready and cachew.served()["packcache"] >= 1
    flush_logged_errors()
