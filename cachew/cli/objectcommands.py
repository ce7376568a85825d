"""``cachew get``, ``put``, ``stat``, ``delete``, ``namespaces`` and ``stats``: single objects."""

import os
import stat as modes
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from cachew.cli.context import Context

if TYPE_CHECKING:
    from cachew.client.download import Download

_KEY_HELP = "KEY is 64 hex digits or any text (then its SHA-256)."


@click.command(epilog=_KEY_HELP)
@click.argument("namespace")
@click.argument("key")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file instead of standard output.")
@click.pass_obj
def get(context: Context, namespace: str, key: str, output: Path | None) -> None:
    """Download an object; its headers go to standard error."""
    from cachew.client.clienterrors import BadUsage
    from cachew.client.objectapi import visible_headers

    if output is not None and output.is_dir():
        raise BadUsage(f"{output} is a directory", "Name the file that the object is to be written to.")
    download = context.downloads().open(context.objects().url(namespace, context.key(key)))
    try:
        for name, value in visible_headers(download.headers).items():
            context.say(f"{name}: {value}")
        if output is None or str(output) == "-":
            for piece in download.pieces():
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        _write(output, download)
    finally:
        download.close()


def _write(output: Path, download: "Download") -> None:
    """Write an object to a file whole or not at all; into a device or a pipe as it comes."""
    from cachew.client.download import is_number
    from cachew.client.room import Room

    place = Path(os.path.realpath(output))
    if place.exists() and not place.is_file():
        with open(place, "wb") as file:
            for piece in download.pieces():
                file.write(piece)
        return
    beside = place.with_name(f".{place.name[:200]}.{os.getpid()}.part")
    try:
        length = download.headers.get("Content-Length", "")
        Room(place.parent).require(int(length) if is_number(length) else 0)
        with open(beside, "wb") as file:
            for piece in download.pieces():
                file.write(piece)
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)


@click.command(epilog=_KEY_HELP)
@click.argument("namespace")
@click.argument("key")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--ttl", metavar="DURATION", help="How long to keep it: 90s, 15m, 1h30m.")
@click.option("-H", "--headers", "headers", metavar="NAME=VALUE", multiple=True, help="A header to store with it.")
@click.pass_obj
def put(context: Context, namespace: str, key: str, file: BinaryIO, ttl: str | None, headers: tuple[str, ...]) -> None:
    """Upload FILE (or standard input) as an object."""
    from cachew.client.keys import check_duration

    stored = _headers(headers)
    if modes.S_ISREG(os.fstat(file.fileno()).st_mode):
        if not any(one.lower() == "content-disposition" for one in stored):
            stored["Content-Disposition"] = _disposition(file)
        # The server can then refuse a body that is too large before any of it is sent.
        stored["Content-Length"] = str(os.fstat(file.fileno()).st_size - file.tell())
    ttl = check_duration(ttl) if ttl else None
    context.objects().put(namespace, context.key(key), file, headers=stored, ttl=ttl)
    context.show({"namespace": namespace, "key": context.key(key)}, [])


@click.command(epilog=_KEY_HELP)
@click.argument("namespace")
@click.argument("key")
@click.pass_obj
def stat(context: Context, namespace: str, key: str) -> None:
    """Show the headers of an object."""
    found = context.objects().stat(namespace, context.key(key))
    context.show(dict(found), [f"{name}: {value}" for name, value in found.items()])


@click.command(epilog=_KEY_HELP)
@click.argument("namespace")
@click.argument("key")
@click.pass_obj
def delete(context: Context, namespace: str, key: str) -> None:
    """Remove an object."""
    context.objects().delete(namespace, context.key(key))
    context.show({"namespace": namespace, "key": context.key(key)}, [])


@click.command()
@click.pass_obj
def namespaces(context: Context) -> None:
    """List the namespaces, one a line."""
    found = context.objects().namespaces()
    context.show(found, found)
    if not found:
        context.say("No namespaces found")


@click.command()
@click.pass_obj
def stats(context: Context) -> None:
    """Show how many objects and bytes the cache holds."""
    from cachew.cli.progressbar import size_text

    def line(name: str, value: object) -> str:
        human = f" ({size_text(value)})" if name in ("size", "capacity") and isinstance(value, int) else ""
        return f"{name}: {value}{human}"

    found = context.objects().stats()
    context.show(found, [line(name, value) for name, value in found.items()])


def _disposition(file: BinaryIO) -> str:
    """Return what a browser is to call a file; what a shell has opened for us has no name."""
    name = os.path.basename(str(file.name)).replace("\\", "\\\\").replace('"', '\\"')
    fits = name.isascii() and name.isprintable() and file.name != sys.stdin.buffer.name
    return f'attachment; filename="{name}"' if fits else "attachment"


def _headers(texts: tuple[str, ...]) -> dict[str, str]:
    headers = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{text!r} is not NAME=VALUE.")
        headers[name] = value
    return headers
