"""Repositories are hostile input: mistakes and tricks alike are mirrored as data, and nothing in one is followed."""

import io
import tarfile
from pathlib import Path

import pytest
import pytest_twisted
import zstandard
from twisted.internet import reactor

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.rawhttp import ask
from tests.functional.repositories import Repository
from tests.functional.upstream import Upstream

ODD = {
    "no e-mail": "author A <> 1 +0000\ncommitter A <> 1 +0000",
    "time zone": "author A <a@b> 1 +051800\ncommitter A <a@b> 1 +051800",
    "no space before e-mail": "author A<a@b> 1 +0000\ncommitter A <a@b> 1 +0000",
    "date of the future": "author A <a@b> 18446744073709551615 +0000\ncommitter A <a@b> 1 +0000",
    "date with a zero": "author A <a@b> 01 +0000\ncommitter A <a@b> 01 +0000",
}


def tree(repository: Repository, *entries: tuple[str, str, bytes]) -> str:
    """Write a tree of any entries: mode, name and content."""
    data = b""
    for mode, name, content in entries:
        oid = repository.git("hash-object", "-w", "--stdin", stdin=content)
        data += f"{mode} {name}\0".encode() + bytes.fromhex(oid)
    return repository.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=data)


def commit(repository: Repository, tree: str, people: str = ODD["no e-mail"]) -> None:
    """Let a tree be the main branch."""
    text = f"tree {tree}\n{people}\n\nodd\n"
    oid = repository.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=text.encode())
    repository.git("update-ref", "refs/heads/main", oid)


@pytest_twisted.ensureDeferred
async def test_oddities_of_famous_repositories(upstream: Upstream, git: Git, start: Start) -> None:
    """Commits that old tools have written badly are mirrored, and cloned from the mirror."""
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    for number, people in enumerate(ODD.values()):
        repository = repositories.init(upstream.path(f"org/odd{number}"))
        commit(repository, tree(repository, ("100644", "a", b"a"), ("100664", "b", b"b")), people)
        await cachew.mirrored(f"org/odd{number}")
        await git.run("clone", "-q", f"https://git.example/org/odd{number}", f"odd{number}")
    assert cachew.served()["mirror"] == len(ODD)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("mode", "name", "content", "words"),
    [
        ("100644", ".git", b"x", b"invalid path '.git'"),
        ("100644", ".GIT", b"x", b"invalid path '.GIT'"),
        ("100644", "..", b"x", b"invalid path '..'"),
        ("100644", ".g\u200cit", b"x", "invalid path '.g\u200cit'".encode()),
        ("100644", ".gitmodules", b'[submodule "x"]\n\tpath = x\n\turl = -oProxyCommand=touch\n', b""),
        ("120000", ".gitmodules", b"/etc/passwd", b"invalid path '.gitmodules'"),
    ],
)
async def test_tricks_are_mirrored_as_data(
    upstream: Upstream, git: Git, start: Start, mode: str, name: str, content: bytes, words: bytes
) -> None:
    """What attacks its users' git is stored and sent as git itself would; git's rules protect whoever checks it out."""
    repository = repositories.init(upstream.path("org/evil"))
    commit(repository, tree(repository, (mode, name, content)))
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    await cachew.mirrored("org/evil")
    await git.run("clone", "-q", "--bare", "https://git.example/org/evil", "clone")
    assert (await git.run("-C", "clone", "rev-parse", "HEAD")).out == repository.commit()
    for _ in range(2):
        answer = await ask(reactor, cachew.url, "GET", "/git/git.example/org/evil/snapshot.tar.zst")
        assert answer.status == (422 if words else 200)
        assert words in answer.body


@pytest_twisted.ensureDeferred
async def test_nothing_is_followed(upstream: Upstream, start: Start, tmp_path: Path) -> None:
    """Links, submodules and LFS settings in a repository lead the server nowhere: a snapshot holds them as they are."""
    secret = tmp_path / "secret"
    secret.write_text("secret of the server")
    repository = repositories.init(upstream.path("org/links"))
    entries = [
        ("100644", ".gitattributes", b"* filter=evil diff=evil\n"),
        ("100644", ".gitmodules", f'[submodule "x"]\n\tpath = x\n\turl = {upstream.url}org/other\n'.encode()),
        ("100644", ".lfsconfig", f'[lfs]\n\turl = "{upstream.url}elsewhere"\n'.encode()),
        ("120000", "link", str(secret).encode()),
        ("120000", "up", b"../../../../../../secret"),
    ]
    commit(repository, tree(repository, *entries))
    cachew = await start()
    response = await ask(reactor, cachew.url, "GET", "/git/git.example/org/links/snapshot.tar.zst")
    assert response.status == 200
    data = zstandard.ZstdDecompressor().stream_reader(response.body, read_across_frames=True).read()
    assert b"secret of the server" not in data
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        links = {member.name: member.linkname for member in archive if member.issym()}
        hooks = [member.name for member in archive if "/hooks/" in member.name]
    assert links == {"./link": str(secret), "./up": "../../../../../../secret"} and not hooks
    await cachew.quiet()
    asked = {exchange.path for exchange in upstream.journal.exchanges}
    assert not [path for path in asked if "other" in path or "elsewhere" in path]
