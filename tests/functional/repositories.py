"""Repositories made quickly, by one ``git fast-import`` each, and the ways in which people change them.

Contents are random but the same in every run. Everything here blocks, for milliseconds.
"""

import fcntl
import os
import random
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.functional.gitcgi import git_environment

COMMITTER = b"A U Thor <author@example.org>"
FIRST_TIME = 1700000000
BIG_COMMITS = 10_050
BIG_BLOB = 11_000


@dataclass(frozen=True)
class Repository:
    """A bare repository.

    :param path: its directory.
    """

    path: Path

    def git(self, *words: str, stdin: bytes = b"") -> str:
        """Run git in it and return what it prints."""
        environment = git_environment(self.path, {"core.compression": "0", "safe.directory": "*"})
        done = subprocess.run(
            ["git", "--git-dir", str(self.path), *words], input=stdin, capture_output=True, env=environment, check=False
        )
        if done.returncode:
            raise AssertionError(f"git {' '.join(words)} failed: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode(errors="surrogateescape").strip()

    def commit(self, name: str = "HEAD") -> str:
        """Return the id of the commit that a ref names."""
        return self.git("rev-parse", "--verify", f"{name}^{{commit}}")

    def has(self, ref: str) -> bool:
        """Whether it has a ref, by the ref's whole name; found without a process."""
        packed = self.path / "packed-refs"
        lines = packed.read_bytes().splitlines() if packed.exists() else []
        return (self.path / ref).is_file() or any(line.partition(b" ")[2] == os.fsencode(ref) for line in lines)

    def refs(self) -> dict[str, str]:
        """Return every ref and the id that it holds."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ", 1) for line in lines)


def make_repository(
    path: Path,
    *,
    commits: int = 1,
    files: int = 3,
    size: int = 200,
    branches: Sequence[str] = ("main",),
    tags: Sequence[str] = (),
    object_format: str = "sha1",
    seed: int = 1,
) -> Repository:
    """Make a bare repository; HEAD is the first branch.

    :param path: where; parents are made.
    :param commits: how many commits the branches have; 0 leaves it empty.
    :param files: files in the first commit; each later one changes one of them.
    :param size: bytes of a file, incompressible.
    :param branches: all at the last commit.
    :param tags: annotated, at the last commit.
    :param object_format: ``sha1`` or ``sha256``.
    :param seed: repositories of different seeds share no objects.
    """
    repository = init(path, branch=branches[0], object_format=object_format)
    fast_import(repository, history(random.Random(seed), branches[0], commits=commits, files=files, size=size))
    if commits:
        head = repository.commit(f"refs/heads/{branches[0]}")
        stdin = "".join(f"create refs/heads/{branch} {head}\n" for branch in branches[1:])
        repository.git("update-ref", "--stdin", stdin=stdin.encode())
        fast_import(repository, (annotated_tag(tag, head) for tag in tags))
    return repository


def init(path: Path, *, branch: str = "main", object_format: str = "sha1") -> Repository:
    """Make an empty bare repository."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = ["git", "init", "-q", "--bare", f"--initial-branch={branch}", f"--object-format={object_format}", str(path)]
    subprocess.run(words, check=True, env=git_environment(path.parent, {}) | {"GIT_TEMPLATE_DIR": ""})
    return Repository(path)


def fast_import(repository: Repository, stream: Iterable[bytes]) -> str:
    """Feed a stream to ``git fast-import``.

    :return: what it prints: an id for each ``get-mark`` in the stream.
    """
    return repository.git("fast-import", "--quiet", "--force", "--done", stdin=b"".join(stream) + b"done\n")


def history(rng: random.Random, branch: str, *, commits: int, files: int, size: int) -> Iterator[bytes]:
    """Yield the commits of a branch as a fast-import stream."""
    for number in range(commits):
        yield commit_header(f"refs/heads/{branch}", f"commit {number}", FIRST_TIME + number)
        for index in range(files) if number == 0 else [number % files]:
            yield inline_file(f"dir{index % 50}/file{index}", rng.randbytes(size))
        yield b"\n"


def commit_header(ref: str, message: str, when: int, *, mark: str = "") -> bytes:
    """Return the head of a commit in a fast-import stream."""
    text = message.encode()
    mark_line = f"mark {mark}\n".encode() if mark else b""
    return b"commit %s\n%scommitter %s %d +0000\ndata %d\n%s\n" % (
        ref.encode(),
        mark_line,
        COMMITTER,
        when,
        len(text),
        text,
    )


def inline_file(name: str, data: bytes) -> bytes:
    """Return a changed file in a fast-import stream."""
    return b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(data), data)


def annotated_tag(name: str, target: str) -> bytes:
    """Return an annotated tag in a fast-import stream."""
    text = f"tag {name}".encode()
    head = f"tag {name}\nfrom {target}\ntagger ".encode()
    return b"%s%s %d +0000\ndata %d\n%s\n" % (head, COMMITTER, FIRST_TIME, len(text), text)


def push_commit(
    repository: Repository, branch: str = "main", message: str = "pushed", *, name: str = "pushed", data: bytes = b""
) -> str:
    """Add a commit to a branch, as a push to the upstream does.

    :param name: the file that it changes.
    :param data: the file's new contents; the message by default.
    :return: the new commit's id.
    """
    ref = f"refs/heads/{branch}"
    return add_commit(repository, ref, message, parent=ref if repository.has(ref) else None, name=name, data=data)


def add_commit(
    repository: Repository,
    ref: str,
    message: str,
    *,
    parent: str | None,
    name: str = "pushed",
    data: bytes = b"",
) -> str:
    """Make a commit, let a ref name it, and return its id.

    :param parent: a ref or commit, None for a root commit.
    """
    stream = [commit_header(ref, message, FIRST_TIME + 10**6, mark=":1")]
    if parent is not None:
        stream.append(b"from %s^0\n" % parent.encode())
    stream += [inline_file(name, data or message.encode()), b"\nget-mark :1\n"]
    return fast_import(repository, stream)


def unadvertised_commit(repository: Repository, message: str = "unadvertised", *, parent: str = "HEAD") -> str:
    """Make a commit that no ref names, and return its id."""
    commit = add_commit(repository, "refs/heads/passing", message, parent=parent)
    delete_branch(repository, "passing")
    return commit


def add_pull(repository: Repository, number: int, message: str = "proposed") -> str:
    """Add ``refs/pull/NUMBER/head`` with a commit of its own, and return its id."""
    return add_commit(repository, f"refs/pull/{number}/head", f"{message} {number}", parent="HEAD")


def move_branch(repository: Repository, branch: str, commit: str) -> None:
    """Let a branch name another commit, whatever it named before."""
    repository.git("update-ref", f"refs/heads/{branch}", commit)


def delete_branch(repository: Repository, branch: str) -> None:
    """Delete a branch."""
    repository.git("update-ref", "-d", f"refs/heads/{branch}")


def big_repository(path: Path) -> Repository:
    """Make a repository of more than 10,000 commits and 100 MB of packs, or find it made; several processes may ask.

    It is shared: serve it and clone it, but change only copies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            beside = path.with_name(f"{path.name}.part")
            make_repository(beside, commits=BIG_COMMITS, files=2000, size=BIG_BLOB, tags=("v1",))
            os.rename(beside, path)
    return Repository(path)
