"""``cachew git …``: repositories."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cachew.cli.context import Context, directory_path
from cachew.cli.gitclient import git_clone, git_setup, git_unsetup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cachew.client.gitcredentials import Offer


@click.group()
def git() -> None:
    """Clone and restore repositories from snapshots, and send git by way of a server."""


for command in (git_clone, git_setup, git_unsetup):
    git.add_command(command)


@git.command("restore", short_help="Check a repository out from its snapshot.")
@click.argument("url")
@click.argument("directory", type=click.Path())
@click.option(
    "--ref",
    "refs",
    metavar="NAME=SHA",
    multiple=True,
    help="A ref that must be at least there: refs/heads/main=SHA, or main= for whatever is upstream.",
)
@click.option("--commit", "commits", metavar="SHA", multiple=True, help="A commit that must be there.")
@click.option("--no-bundle", is_flag=True, help="Leave the checkout at the snapshot's commit.")
@click.option("--lfs", is_flag=True, help="Fetch the LFS objects of the checkout too.")
@click.option("--force", is_flag=True, help="Replace a checkout of the repository though it has changes of its own.")
@click.pass_obj
def git_restore(
    context: Context,
    url: str,
    directory: str,
    refs: tuple[str, ...],
    commits: tuple[str, ...],
    no_bundle: bool,
    lfs: bool,
    force: bool,
) -> None:
    """Make DIRECTORY a checkout of the repository at URL, much faster than git clone does.

    URL is the upstream's (https://github.com/org/repo) or the server's
    (http://cachew.example/git/github.com/org/repo). A failure leaves nothing behind.

    A clean checkout of the same repository at DIRECTORY is replaced in one step; its ignored files, config and hooks
    stay.
    """
    from cachew.client.addresses import parse_repository

    place = directory_path(directory)
    address = parse_repository(url, server=context.server)
    http = context.http(address.server, offers=lambda place, challenge: _offers(context, place, challenge))
    downloads = context.downloads(http)
    if not os.path.lexists(place):
        downloads.open_ahead(address.artefact("snapshot.tar.zst"))
    # What comes now is imported while the server answers.
    from cachew.client.deltabundle import DeltaBundles
    from cachew.client.extract import choose_unpacker
    from cachew.client.freshen import Freshener, parse_wanted
    from cachew.client.lfssnapshots import LfsSnapshots
    from cachew.client.restore import GitRestore, RestoreRequest

    wanted = parse_wanted(refs, commits)
    archives = context.archives(downloads)
    unpack = choose_unpacker(context.tar, exact_modes=False)
    restore = GitRestore(
        archives=archives,
        unpack=unpack,
        bundles=DeltaBundles(downloads=downloads),
        freshener=Freshener(http=http, progress=context.progress, retries=context.retries),
        lfs=LfsSnapshots(archives=archives, unpack=unpack, progress=context.progress),
        git=context.git(),
        progress=context.progress,
    )
    restore.restore(RestoreRequest(address, place, wanted, use_bundle=not no_bundle, lfs=lfs, force=force))
    context.show({"directory": directory}, [])


def _offers(context: Context, url: str, challenge: str) -> "Iterator[Offer]":
    from cachew.client.gitcredentials import GitCredentials  # which only a server that asks for some makes necessary

    home = os.environ.get("HOME")
    credentials = GitCredentials(git=context.git(), home=Path(home) if home else None, learnt=context.learnt)
    return credentials.offers(url, challenge)
