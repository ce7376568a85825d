"""Turns an extracted snapshot into a repository that git can work in: its config, its layout, its index."""

import contextlib
import os
from pathlib import Path

from cachew.client.addresses import RepositoryAddress, same_repository
from cachew.client.clienterrors import ArchiveBroken
from cachew.client.gitcommand import Git
from cachew.client.gitconfig import branch_of, config_text, plain_origin
from cachew.client.gitindex import refreshed

_SMALL = 64 * 1024


class Checkout:
    """A working tree with its repository.

    :param tree: its directory.
    :param git: the git program.
    """

    def __init__(self, *, tree: Path, git: Git) -> None:
        self.tree = tree
        self.git = git

    @property
    def branch(self) -> str | None:
        """The branch that is checked out, None when HEAD is detached.

        :raise ArchiveBroken: when there is no sensible HEAD.
        """
        try:
            return branch_of(_read(self.tree / ".git/HEAD"))
        except (OSError, ValueError) as error:
            raise ArchiveBroken(f"the archive is not a snapshot of a repository: {error}") from error

    @property
    def commit(self) -> str:
        """The commit that HEAD is, as the refs have it.

        :raise ArchiveBroken: when there is none.
        """
        branch = self.branch
        return (_read(self.tree / ".git/HEAD") if branch is None else self._ref(f"refs/heads/{branch}")).strip()

    def configure(self, *, address: RepositoryAddress, said_config: bytes, folds_case: bool) -> str:
        """Write the config and whatever directory git needs, and return the URL of ``origin``.

        :param said_config: the config that the archive had, read as data for the upstream's URL and nothing else.
        """
        branch = self.branch
        for name in ("refs/heads", "refs/tags", "objects/info", "objects/pack", "info"):
            (self.tree / ".git" / name).mkdir(parents=True, exist_ok=True)
        origin = address.upstream_url or self._said_origin(said_config, address) or f"https://{address.name}"
        text = config_text(origin=origin, branch=branch, sha256=self._oid_size() == 32, folds_case=folds_case)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(self.tree / ".git/config", flags, 0o644), "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
        return origin

    def refresh_index(self) -> None:
        """Let the index agree with the files on disk without reading them."""
        index = self.tree / ".git/index"
        root = os.fsencode(self.tree) + b"/"
        try:
            renewed = refreshed(index.read_bytes(), lstat=lambda path: _lstat(root + path), oid_size=self._oid_size())
        except FileNotFoundError:
            return
        except ValueError:
            self.git.run(self.tree, "update-index", "-q", "--refresh", check=False)
            return
        beside = index.with_name("index.new")
        beside.write_bytes(renewed)
        beside.replace(index)

    def _said_origin(self, config: bytes, address: RepositoryAddress) -> str | None:
        if not config:
            return None
        url = plain_origin(config.decode("utf-8", "replace"))
        if url is None:
            arguments = ("config", "--no-includes", "--file", "-", "--get", "remote.origin.url")
            done = self.git.run(self.tree, *arguments, stdin=config, check=False)
            url = "" if done.returncode else done.stdout.decode("utf-8", "replace").strip()
        return url if same_repository(url, address) else None

    def _oid_size(self) -> int:
        """Bytes of an object name, as the refs show it."""
        return 32 if len(self.commit) == 64 else 20

    def _ref(self, name: str) -> str:
        with contextlib.suppress(OSError, ValueError):
            return _read(self.tree / ".git" / name)
        wanted = name.encode("utf-8", "surrogateescape")
        with contextlib.suppress(OSError), open(self.tree / ".git/packed-refs", "rb") as lines:
            for line in lines:
                oid, _, found = line.rstrip(b"\n").partition(b" ")
                if found == wanted:
                    return oid.decode("ascii", "replace")
        raise ArchiveBroken(f"the archive is not a snapshot of a repository: it has no {name}")


def _read(path: Path) -> str:
    with open(path, "rb") as file:
        return file.read(_SMALL).decode("utf-8", "surrogateescape")


def _lstat(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (OSError, ValueError):
        return None
