"""``cachew git clone``, ``setup`` and ``unsetup``: stock git by way of a server."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cachew.cli.context import Context

if TYPE_CHECKING:
    from cachew.client.gitcommand import Git


@click.command(
    "clone",
    short_help="Clone as git does, at a snapshot's speed.",
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="URL [DIRECTORY] [GIT'S OPTIONS]")
@click.pass_obj
def git_clone(context: Context, arguments: tuple[str, ...]) -> None:
    """Clone as git clone does, with the objects of the server's snapshot.

    URL is the upstream's (https://github.com/org/repo) or the server's. Every option of git clone may be given. No
    configuration is changed, and the clone's origin is URL.
    """
    from cachew.client.addresses import insteadof_prefix, parse_repository
    from cachew.client.clienterrors import BadUsage
    from cachew.client.clonearguments import repository_of, spelled_out

    url = repository_of(arguments)
    if url is None:
        raise BadUsage("no repository is named", "Write it like cachew git clone https://github.com/org/repo.")
    address = parse_repository(spelled_out(url, context.git().rewritings()), server=context.server)
    fast = f"cachew::{address.server}/git/{address.host}/"
    prefix = f"{address.server}/git/{address.host}/"
    if address.upstream_url is not None:
        prefix = insteadof_prefix(address.upstream_url, address)
    pairs = [
        (f"url.{fast}.insteadOf", prefix),
        # Longer than any rule that the user has for the host.
        (f"url.cachew::{address.url}.insteadOf", url),
        ("protocol.cachew.allow", "always"),
    ]
    environment = _with_settings(pairs)
    sys.stdout.flush()
    os.execvpe(context.git().program, ["git", "clone", *arguments], environment)


@click.command("setup", short_help="Send git by way of SERVER.")
@click.argument("server")
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@click.option("--fast", is_flag=True, help="Clone with git-remote-cachew, which only git itself knows how to run.")
@click.option("--global", "scope", flag_value="--global", default="--global", help="For this user.  [default]")
@click.option("--system", "scope", flag_value="--system", help="For this machine.")
@click.option("--local", "scope", flag_value="--local", help="For the repository here.")
@click.pass_obj
def git_setup(context: Context, server: str, hosts: tuple[str, ...], fast: bool, scope: str) -> None:
    """Send git by way of SERVER for the repositories of some hosts; by default those that it serves from the start.

    Without --fast every tool that reads git's configuration can follow. With it a clone takes the snapshot's speed, but
    libgit2, JGit, go-git and other tools that don't run git's helpers can't use the addresses: it is for machines where
    stock git is the only client.
    """
    import shutil

    from cachew.client.addresses import parse_server
    from cachew.client.clienterrors import BadUsage
    from cachew.client.gitsetup import HOSTS, is_host, settings

    where = parse_server(server)
    if bad := next((host for host in hosts if not is_host(host)), None):
        raise BadUsage(f"{bad!r} is no host", "Write hosts like github.com or git.example:8443.")
    git, chosen = context.git(), hosts or HOSTS
    _take_back(git, scope, hosts=chosen)
    left = git.listed(Path("."), scope)
    for line in settings(where, chosen, fast=fast):
        if (line.name, line.value) not in left:
            git.run(Path("."), "config", scope, "--add", line.name, line.value)
    click.echo(f"git goes to {where} for {', '.join(chosen)}.")
    if fast:
        click.echo(
            "Tools that do not run git itself (libgit2, JGit, go-git) can't follow; setup without --fast is for them."
        )
        if shutil.which("git-remote-cachew") is None:
            click.echo(f"Put {_here()} on the PATH: git does not find git-remote-cachew there yet.")
    click.echo(
        f"cachew git unsetup{'' if scope == '--global' else f' {scope}'} takes that back; cachew doctor checks it."
    )


@click.command("unsetup")
@click.option("--global", "scope", flag_value="--global", default="--global", help="For this user.  [default]")
@click.option("--system", "scope", flag_value="--system", help="For this machine.")
@click.option("--local", "scope", flag_value="--local", help="For the repository here.")
@click.pass_obj
def git_unsetup(context: Context, scope: str) -> None:
    """Take back what setup has written, and nothing else."""
    count = _take_back(context.git(), scope)
    click.echo(f"{count} lines were removed." if count else "There was nothing to remove.")


def _take_back(git: "Git", scope: str, *, hosts: "Sequence[str]" = ()) -> int:
    from cachew.client.gitsetup import ours

    removed = ours(git.listed(Path("."), scope), hosts=hosts)
    for line in removed:
        git.run(Path("."), "config", scope, "--fixed-value", "--unset-all", line.name, line.value, check=False)
        section = line.name.rpartition(".")[0]
        if not any(name.startswith(f"{section}.") for name, _ in git.listed(Path("."), scope)):
            git.run(Path("."), "config", scope, "--remove-section", section, check=False)
    return len(removed)


def _with_settings(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Return this environment with more git settings, and the place of the helper on its PATH."""
    import shutil

    from cachew.client.clienterrors import BadUsage

    count = os.environ.get("GIT_CONFIG_COUNT", "0")
    first = int(count) if count.isdigit() else 0
    added = {"GIT_CONFIG_COUNT": str(first + len(pairs))}
    for number, (name, value) in enumerate(pairs, first):
        added |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    path = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{_here()}"
    if shutil.which("git-remote-cachew", path=path) is None:
        raise BadUsage(
            "git-remote-cachew is not on the PATH", "Install the client: SERVER/client/install.sh does that."
        )
    return {**os.environ, **added, "PATH": path}


def _here() -> Path:
    """Return the directory of this command, in which the helper is too."""
    return Path(sys.argv[0]).resolve().parent
