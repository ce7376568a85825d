"""A checkout that is there already, over which a fresh one of the same repository is restored.

Nothing that only this directory has may get lost: without ``--force`` it must be clean and all of its commits upstream.
What is the user's own in it goes over into the fresh one: files that git ignores, the config, hooks and excludes. Then
the two change places in one step.
"""

import os
from contextlib import ExitStack
from pathlib import Path

from cachew.client.addresses import RepositoryAddress, parse_repository, same_repository
from cachew.client.clienterrors import BadUsage, ClientError, ExtractionFailed
from cachew.client.directoryswap import exchange
from cachew.client.gitcommand import Git

_UNDER_WAY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG", "rebase-merge", "rebase-apply")
_ITS_OWN = ("hooks", "info", "config")
_FORCE = "Commit and push what is to be kept, or replace all of it with --force."


class ExistingCheckout:
    """A directory that may be one.

    :param directory: exists and is not empty.
    :param git: the git program.
    """

    def __init__(self, *, directory: Path, git: Git) -> None:
        self.directory = directory
        self._git = git

    def check(self, address: RepositoryAddress, *, force: bool) -> None:
        """Make sure that it may be replaced.

        :param force: whether what only it has may get lost.
        :raise BadUsage: when it is no checkout of the repository, or has something of its own.
        """
        if not self._is_repository():
            raise BadUsage(f"{self.directory} exists and is not empty", "Remove it, or choose another directory.")
        origin = self._said("config", "--get", "remote.origin.url")
        if not _is_of(origin, address):
            raise BadUsage(
                f"{self.directory} is not a checkout of {address.name}", "Remove it, or choose another directory."
            )
        if any((self.directory / ".git" / name).is_dir() for name in ("worktrees", "modules")):
            raise BadUsage(f"{self.directory} has linked work trees or submodules", "Choose another directory.")
        if not force and (own := self._own()):
            raise BadUsage(f"{self.directory} has {own}", _FORCE)

    def replace(self, made: Path) -> None:
        """Put a fresh checkout into its place in one step; afterwards ``made`` is what was there.

        :raise ClientError: when that does not go; everything is then as it was, however it was broken off.
        """
        with ExitStack() as undoing:
            try:
                for name in self._ignored():
                    source, target = self.directory / name, made / name
                    if os.path.lexists(source) and not os.path.lexists(target) and target.parent.is_dir():
                        undoing.callback(_put_back, source, target)
                        os.rename(source, target)
                self._keep_own_settings(made)
                exchange(made, self.directory)
            except OSError as error:
                raise ExtractionFailed(f"cannot replace {self.directory}: {error.strerror}") from error
            undoing.pop_all()

    def _is_repository(self) -> bool:
        git = self.directory / ".git"
        return git.is_dir() and not git.is_symlink() and self._said("rev-parse", "--git-dir") == ".git"

    def _own(self) -> str:
        """Return what only this directory has, nothing when there is nothing."""
        git = self.directory / ".git"
        if any((git / name).exists() for name in _UNDER_WAY):
            return "something half-done, such as a merge or a rebase"
        status = self._git.run(self.directory, "status", "--porcelain", "-z", "--untracked-files=normal", check=False)
        if status.returncode or status.stdout:
            return "changes or files that are not committed"
        if self._said("rev-parse", "-q", "--verify", "refs/stash"):
            return "stashed changes"
        ours = ("rev-list", "--max-count=1", "HEAD", "--branches", "--not", "--remotes", "--tags")
        found = self._git.run(self.directory, *ours, check=False)
        if found.returncode or found.stdout:
            return "commits that are not upstream"
        return ""

    def _ignored(self) -> list[str]:
        words = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
        done = self._git.run(self.directory, *words, check=False)
        return [os.fsdecode(name.rstrip(b"/")) for name in done.stdout.split(b"\0") if name]

    def _keep_own_settings(self, made: Path) -> None:
        """Let the fresh checkout have the old one's config, hooks and excludes."""
        old, new = self.directory / ".git", made / ".git"
        if _format(self._git, made) != _format(self._git, self.directory):
            return
        tracking = self._git.run(made, "config", "--null", "--get-regexp", r"^branch\.", check=False).stdout
        for name in _ITS_OWN:
            _copy(old / name, new / name)
        for entry in filter(None, tracking.split(b"\0")):
            key, _, value = entry.decode("utf-8", "surrogateescape").partition("\n")
            self._git.run(made, "config", "--replace-all", key, value)

    def _said(self, *words: str) -> str:
        return self._git.text(self.directory, *words)


def _format(git: Git, tree: Path) -> bytes:
    return git.run(
        tree, "config", "--local", "--get-regexp", r"^(extensions\.|core\.repositoryformatversion)", check=False
    ).stdout


def _put_back(source: Path, target: Path) -> None:
    """Undo a move that has happened; after the exchange of the two checkouts there is none to undo."""
    if os.path.lexists(target) and not os.path.lexists(source):
        os.rename(target, source)


def _copy(source: Path, target: Path) -> None:
    if source.is_symlink() or not source.exists():
        return
    if source.is_dir():
        target.mkdir(exist_ok=True)
        for entry in source.iterdir():
            _copy(entry, target / entry.name)
        return
    target.write_bytes(source.read_bytes())
    target.chmod(source.stat().st_mode & 0o777)


def _is_of(origin: str, address: RepositoryAddress) -> bool:
    """Say whether an ``origin`` is the repository: at its upstream, however it is spelt, or on the server."""
    if origin and origin == address.upstream_url:
        return True
    if same_repository(origin, address):
        return True
    try:
        return parse_repository(origin, server=address.server).name == address.name
    except ClientError:
        return False
