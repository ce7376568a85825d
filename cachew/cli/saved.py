"""``cachew save`` and ``cachew restore``: whole directories as objects."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cachew.cli.context import Context, directory_path

MISS = 2


def _key_options(command: Callable[..., Any]) -> Callable[..., Any]:
    hashed = click.option(
        "-H",
        "--hash-files",
        "globs",
        metavar="GLOB",
        multiple=True,
        help="Make the key of the content of the files that match, such as '**/go.sum'; may be repeated.",
    )
    return click.option("--key", help="The key: 64 hex digits or any text.")(hashed(command))


def _key(context: Context, key: str | None, globs: tuple[str, ...]) -> str:
    from cachew.client.globs import hash_files

    if bool(key) == bool(globs):
        raise click.UsageError("Give either --key or -H.")
    return context.key(key or hash_files(globs, root=Path()))


@click.command()
@click.argument("namespace")
@click.argument("directory", type=click.Path())
@click.argument("paths", nargs=-1)
@_key_options
@click.option("--ttl", metavar="DURATION", help="How long to keep it: 90s, 15m, 1h30m.")
@click.option("--exclude", metavar="PATTERN", multiple=True, help="What to leave out, as tar --exclude takes it.")
@click.option("--zstd-threads", metavar="N", type=click.IntRange(0), default=0, help="Threads; 0 to choose.")
@click.pass_obj
def save(
    context: Context,
    namespace: str,
    directory: str,
    paths: tuple[str, ...],
    key: str | None,
    globs: tuple[str, ...],
    ttl: str | None,
    exclude: tuple[str, ...],
    zstd_threads: int,
) -> None:
    """Archive DIRECTORY, or PATHS within it, and upload it."""
    from cachew.client.clienterrors import BadUsage
    from cachew.client.keys import check_duration
    from cachew.client.pack import check_paths, packed

    place = directory_path(directory)
    full_key = _key(context, key, globs)
    check_paths(place, paths)
    if context.tar is None:
        raise BadUsage("there is no tar on the PATH", "Install tar.")
    name = "".join(c for c in os.path.basename(os.path.abspath(directory)) if c.isascii() and c.isprintable())
    name = name.replace('"', "").replace("\\", "")
    headers = {"Content-Type": "application/zstd", "Content-Disposition": f'attachment; filename="{name}.tar.zst"'}
    body = packed(place, paths or (".",), exclude=exclude, tar=context.tar, threads=zstd_threads or context.threads)
    ttl = check_duration(ttl) if ttl else None
    context.say(f"Archiving {directory}")
    context.objects().put(namespace, full_key, body, headers=headers, ttl=ttl)
    context.say(f"Saved: {full_key}")
    context.show({"key": full_key}, [])


@click.command()
@click.argument("namespace")
@click.argument("directory", type=click.Path())
@_key_options
@click.option("--zstd-threads", type=click.IntRange(0), default=0, hidden=True)
@click.pass_obj
def restore(
    context: Context, namespace: str, directory: str, key: str | None, globs: tuple[str, ...], zstd_threads: int
) -> int:
    """Download an archive that was saved and extract it to DIRECTORY.

    Exits with 0 when it was there, 2 when it was not, 1 when something failed.
    """
    from cachew.client.clienterrors import NotCached
    from cachew.client.extract import choose_unpacker
    from cachew.client.merge import DirectoryRestore

    place = directory_path(directory)
    full_key = _key(context, key, globs)
    url = context.objects().url(namespace, full_key)
    archives = context.archives(context.downloads())
    try:
        DirectoryRestore(archives=archives, unpack=choose_unpacker(context.tar, exact_modes=True)).restore(url, place)
    except NotCached:
        context.say(f"Cache miss: {full_key}")
        context.show({"key": full_key, "hit": False}, [])
        return MISS
    context.say(f"Restored: {full_key}")
    context.show({"key": full_key, "hit": True}, [])
    return 0
