"""``git-remote-cachew``: git's way to ``cachew::http(s)://SERVER/git/HOST/PATH``.

Git starts it for every command that talks to such an address (gitremote-helpers(7)). What is imported here is waited
for by every fetch; what seeds a new repository is imported only then.
"""

import os
import sys

from cachew.client.asking import AskedProgram
from cachew.client.gitdir import GitDirectory
from cachew.client.helperoptions import (
    HelperOptions,
    becomes_stream,
    begins_fetch,
    begins_push,
    only_lists,
    sub_command,
)
from cachew.client.relay import HelperEnded, Relay, Stopped

TYPE_CHECKING = False  # what typing says, which takes as long to import as everything else
if TYPE_CHECKING:
    from collections.abc import Callable

_ELSEWHERE = ("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_OBJECT_DIRECTORY", "GIT_REFERENCE_BACKEND")
_USAGE = """git-remote-cachew is run by git, for addresses like cachew::http://cachew.example/git/github.com/org/repo.
  git clone cachew::http://cachew.example/git/github.com/org/repo
"""


def main() -> None:
    """Run as git's helper and exit as git's own helper does."""
    if len(sys.argv) != 3 or not sys.argv[2].startswith(("http://", "https://")):
        sys.stderr.write(_USAGE)
        sys.exit(2)
    name, url = sys.argv[1:]
    scheme = url.partition(":")[0]
    relay = Relay(program=f"git-remote-{scheme}", arguments=[os.fsencode(name), os.fsencode(url)], environ=os.environ)
    tidy = _nothing
    try:
        try:
            relay.start()
            directory = GitDirectory(os.environb[b"GIT_DIR"]) if b"GIT_DIR" in os.environb else None
            tidy = _pass_on(relay, directory, name, url)
            relay.rest()
        except HelperEnded:
            pass
        status = relay.ended()
        tidy()
    except Stopped as stopped:
        status = 128 + stopped.number
    except FileNotFoundError:
        sys.stderr.write(f"git-remote-cachew: git has no helper for {scheme}: install git with its http support\n")
        status = 128
    # Threads may still wait for a server that does not answer.
    os._exit(status)


def _pass_on(relay: Relay, directory: "GitDirectory | None", name: str, url: str) -> "Callable[[], None]":
    """Pass on git's lines until the one that brings objects, before which a repository that has none is seeded.

    :return: what is to be done when all is over.
    """
    options = HelperOptions()
    while (line := relay.next_line()) is not None:
        options.note(line)
        if begins_fetch(line) or begins_push(line):
            seeds = begins_fetch(line) and options.snapshot_filter is not None
            return _nothing if directory is None else _prepare(directory, options, name, url, seeds=seeds)
        if becomes_stream(line):
            return _nothing
        relay.pass_on()
    return _nothing


def _nothing() -> None:
    pass


def _prepare(
    directory: GitDirectory, options: HelperOptions, name: str, url: str, *, seeds: bool
) -> "Callable[[], None]":
    command = _git_command()
    if only_lists(command):
        return _nothing
    seeds = seeds and not any(one in os.environ for one in _ELSEWHERE) and directory.is_empty()
    if not seeds and not directory.lacks_lfs_address(os.fsencode(name), os.fsencode(_plain(url))):
        return _nothing
    environ = {**os.environ, "GIT_DIR": os.fsdecode(directory.path), "GIT_TERMINAL_PROMPT": "0"}
    # Git looks into its configuration while we are still busy with imports.
    try:
        config = AskedProgram("git", "config", "--null", "--list", environ=environ)
    except OSError:
        return _nothing
    from cachew.cli.remoteseed import RemoteRepository, prepare, tidy

    remote = RemoteRepository(directory, name, url, config=config.answer, is_clone=command == b"clone")
    return (lambda: tidy(remote)) if prepare(remote, options, seeds=seeds) else _nothing


def _plain(url: str) -> str:
    """Return an address without what may prove who the user is, or a slash at its end."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}/{path}".rstrip("/")


def _git_command() -> bytes:
    """Return which command of git's this process serves, empty where the system does not tell.

    Git runs helpers by ``git remote-cachew``, so it is our parent's parent. It says the same to us for all that talks
    to a server by protocol v2 (``option progress``, ``option verbosity``, ``stateless-connect``) and exports nothing
    that would tell; when it asks for a pack it has decided already what it has.
    """
    try:
        with open(f"/proc/{os.getppid()}/stat", "rb") as file:
            parent = file.read().rpartition(b")")[2].split()[1].decode()
        with open(f"/proc/{parent}/cmdline", "rb") as file:
            return sub_command(file.read().split(b"\0"))
    except (OSError, IndexError):
        return b""


if __name__ == "__main__":
    main()
