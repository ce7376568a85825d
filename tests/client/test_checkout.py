"""A snapshot that was extracted becomes a repository: what is read of it, and what is written; git is played."""

import struct
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, cast

import pytest

from cachew.client.addresses import RepositoryAddress
from cachew.client.checkout import Checkout
from cachew.client.clienterrors import ArchiveBroken
from tests.fakes.archives import trailed

OID = "1" * 40
ADDRESS = RepositoryAddress("http://cachew.example", "git.example", "org/repo", None)


class World:
    """A directory with a repository's files.

    :param files: below ``.git``, by name.
    """

    def __init__(self, tree: Path, files: dict[str, bytes]) -> None:
        self.tree = tree
        for name, content in files.items():
            path = tree / ".git" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.ran: list[tuple[str, ...]] = []
        self.says, self.code = b"", 0
        self.checkout = Checkout(tree=tree, git=cast(Any, self))

    def run(self, directory: Path, *words: str, stdin: bytes = b"", check: bool = True) -> CompletedProcess[bytes]:
        """Play git."""
        self.ran.append(words)
        return CompletedProcess(words, self.code, self.says)

    def configure(self, config: bytes = b"", address: RepositoryAddress = ADDRESS) -> str:
        return self.checkout.configure(address=address, said_config=config, folds_case=False)


def on_main(tree: Path, **more: bytes) -> World:
    """Return a repository on a branch."""
    return World(tree, {"HEAD": b"ref: refs/heads/main\n", "refs/heads/main": f"{OID}\n".encode(), **more})


def test_a_branch_is_read_where_it_is(tmp_path: Path) -> None:
    """In its own file, which counts before what is packed, or among the packed ones, whatever its bytes."""
    packed = f"# pack-refs with: peeled\n{'2' * 40} refs/heads/main\n^{'3' * 40}\n{OID} refs/heads/r".encode()
    loose = on_main(tmp_path / "loose", **{"packed-refs": packed + b"\n"})
    assert (loose.checkout.branch, loose.checkout.commit) == ("main", OID)
    other = World(tmp_path / "packed", {"HEAD": b"ref: refs/heads/r\xc3v\n", "packed-refs": packed + b"\xc3v\n"})
    assert (other.checkout.branch, other.checkout.commit) == ("r\udcc3v", OID)


def test_a_branch_below_whose_name_others_lie_packed_away(tmp_path: Path) -> None:
    """A directory in the place of its file is none."""
    world = World(tmp_path, {"HEAD": b"ref: refs/heads/a\n", "packed-refs": f"{OID} refs/heads/a\n".encode()})
    (tmp_path / ".git/refs/heads/a").mkdir(parents=True)
    assert world.checkout.commit == OID


def test_a_detached_head_is_its_commit(tmp_path: Path) -> None:
    """It is on no branch."""
    world = World(tmp_path, {"HEAD": f"{OID}\n".encode()})
    assert (world.checkout.branch, world.checkout.commit) == (None, OID)
    world.configure()
    assert "[branch" not in (tmp_path / ".git/config").read_text()


@pytest.mark.parametrize("head", [b"", b"ref: refs/heads/../../x\n", b"ref: HEAD\n", b"x" * 40, OID.encode() + b"\nx"])
def test_a_head_that_makes_no_sense(tmp_path: Path, head: bytes) -> None:
    """It is no repository."""
    with pytest.raises(ArchiveBroken, match="not a snapshot"):
        World(tmp_path, {"HEAD": head}).configure()


def test_no_head_and_no_branch(tmp_path: Path) -> None:
    """Neither is a repository."""
    with pytest.raises(ArchiveBroken):
        World(tmp_path / "empty", {}).configure()
    with pytest.raises(ArchiveBroken, match="refs/heads/main"):
        World(tmp_path / "unborn", {"HEAD": b"ref: refs/heads/main\n"}).configure()


@pytest.mark.parametrize(
    ("config", "origin"),
    [
        (b"", "https://git.example/org/repo"),
        (b'[remote "origin"]\n\turl = http://10.0.0.5:3000/org/repo.git\n', "http://10.0.0.5:3000/org/repo.git"),
        (b'[remote "origin"]\n\turl = https://git.example/other/repo\n', "https://git.example/org/repo"),
        (b'[remote "origin"]\n\turl = ext::sh -c evil% org/repo\n', "https://git.example/org/repo"),
        (b'[remote "origin"]\n\turl = https://user:secret@git.example/org/repo\n', "https://git.example/org/repo"),
        (b"\xff\x00 no config", "https://git.example/org/repo"),
    ],
)
def test_an_archive_says_where_the_upstream_is_only_where_that_can_be(
    tmp_path: Path, config: bytes, origin: str
) -> None:
    """The same repository over plain http: no other, no command, no credential."""
    world = on_main(tmp_path)
    assert world.configure(config) == origin
    assert f'url = "{origin}"' in (tmp_path / ".git/config").read_text()


@pytest.mark.parametrize("said", [b"https://git.example/org/re\npo", b"https://git.example/org/repo\x7f", b"\n", b""])
def test_what_git_reads_of_a_crooked_config_is_judged_too(tmp_path: Path, said: bytes) -> None:
    """A value may have line breaks, which no address has."""
    world = on_main(tmp_path)
    world.says = said + b"\n"
    assert world.configure(b'[remote "origin"]\n\turl = "x" # crooked\n') == "https://git.example/org/repo"
    assert world.ran[0][:4] == ("config", "--no-includes", "--file", "-")


def test_what_the_user_has_typed_counts_first(tmp_path: Path) -> None:
    """Whatever the archive says."""
    world = on_main(tmp_path)
    typed = ADDRESS._replace(upstream_url="git@git.example:org/repo")
    config = b'[remote "origin"]\n\turl = http://10.0.0.5:3000/org/repo\n'
    assert world.configure(config, typed) == "git@git.example:org/repo"


def test_the_object_format_shows_in_the_refs(tmp_path: Path) -> None:
    """It is written down, as git asks for it."""
    World(tmp_path, {"HEAD": b"1" * 64}).configure()
    assert "objectformat = sha256" in (tmp_path / ".git/config").read_text()


def test_a_config_is_never_written_over(tmp_path: Path) -> None:
    """Nor through a link."""
    world = on_main(tmp_path)
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / ".git/config").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        world.configure()
    assert (tmp_path / "elsewhere").read_bytes() == b""


def index_of(*names: bytes) -> bytes:
    """Return an index of empty files, as a server writes it: its own times and inodes."""
    content = struct.pack(">4sLL", b"DIRC", 2, len(names))
    for name in names:
        entry = (
            struct.pack(">10L", 1, 2, 3, 4, 5, 6, 0o100644, 7, 8, 0) + bytes(20) + struct.pack(">H", len(name)) + name
        )
        content += entry + bytes(8 - len(entry) % 8)
    return trailed(content)


def test_an_index_agrees_with_the_files_on_disk(tmp_path: Path) -> None:
    """Without a look into them; what is not there keeps what the index says."""
    world = on_main(tmp_path, index=index_of(b"gone", b"here", b"z\xff"))
    for name in (b"here", b"z\xff"):
        (tmp_path / name.decode("utf-8", "surrogateescape")).write_bytes(b"")
    world.checkout.refresh_index()
    content = (tmp_path / ".git/index").read_bytes()
    inodes = [struct.unpack_from(">L", content, 12 + 72 * number + 20)[0] for number in range(3)]
    found = (tmp_path / "here").stat().st_ino & 0xFFFFFFFF
    assert inodes[:2] == [6, found]
    assert inodes[2] not in (6, found)
    assert trailed(content[:-20]) == content
    assert world.ran == []
    assert not (tmp_path / ".git/index.new").exists()


@pytest.mark.parametrize(
    "index", [b"", b"DIRC", b"x" * 100, index_of(b"a")[:40], b"DIRC\0\0\0\x02\xff\xff\xff\xff" + bytes(90)]
)
def test_an_index_that_can_not_be_read_is_left_to_git(tmp_path: Path, index: bytes) -> None:
    """Nothing is written in its place."""
    world = on_main(tmp_path, index=index)
    world.checkout.refresh_index()
    assert [words[0] for words in world.ran] == ["update-index"]
    assert (tmp_path / ".git/index").read_bytes() == index


def test_without_an_index_nothing_is_refreshed(tmp_path: Path) -> None:
    """A snapshot of no files has none."""
    world = on_main(tmp_path)
    world.checkout.refresh_index()
    assert world.ran == []
