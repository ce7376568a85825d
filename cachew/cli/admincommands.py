"""``cachew admin …``: looking after a server."""

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cachew.cli.context import Context

if TYPE_CHECKING:
    from cachew.client.administration import Administration

_STATES = ("empty", "cloning", "restoring", "ready", "fetching", "suspect", "error", "stale")
_LEVELS = ("debug", "info", "warn", "error", "critical")
_PAUSE = 1.0


@click.group()
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    show_envvar=True,
    help="File with the admin token: admin-token in the server's state directory.",
)
@click.pass_obj
def admin(context: Context, token_file: Path | None) -> None:
    """Look after a server.

    The admin token is taken from --token-file, or from --authorization "Bearer TOKEN".
    """
    if token_file is not None:
        # What is no text is no token, as the first request says.
        token = token_file.read_text(encoding="utf-8", errors="replace").strip()
        context.learnt(token)
        context.authorization = f"Bearer {token}"


def _administration(context: Context) -> "Administration":
    from cachew.client.administration import Administration

    return Administration(http=context.http())


@admin.command()
@click.pass_obj
def status(context: Context) -> None:
    """Show the server as a whole."""
    from cachew.cli.progressbar import size_text

    found = _administration(context).overview()
    lines = [f"up for {_age(found['now'] - found['started'])}, {found['waiting']} requests waiting"]
    lines += [f"not in order: {trouble}" for trouble in found["troubles"]]
    lines += [f"served from {source}: {count}" for source, count in sorted(found["served"].items())]
    lines += [f"{store['name']}: {store['objects']} objects, {size_text(store['size'])}" for store in found["caches"]]
    lines += [
        f"{work['kind']} of {work['repository']} for {_age(found['now'] - work['began'])}" for work in found["work"]
    ]
    context.show(found, lines)


@admin.command(short_help="List what is mirrored.")
@click.option("--state", "states", type=click.Choice(_STATES), multiple=True, help="Only those; may be repeated.")
@click.option("--upstream", metavar="HOST", default="", help="Only those of this host.")
@click.pass_obj
def repositories(context: Context, states: tuple[str, ...], upstream: str) -> None:
    """List what is mirrored: state, age of the last check, name, and what is wrong."""
    found = _administration(context).repositories(states=states, upstream=upstream)
    now = time.time()
    context.show(found, [_line(one, now) for one in found])
    if not found:
        context.say("no such repositories")


@admin.command()
@click.argument("repository")
@click.pass_obj
def show(context: Context, repository: str) -> None:
    """Show all that is known of REPOSITORY (host/path)."""
    found = _administration(context).repository(repository)
    context.show(found, [f"{name}: {_value(value)}" for name, value in found.items()])


def _action(name: str, words: str) -> click.Command:
    @click.command(name, help=words, short_help=re.split("[;,]", words)[0].rstrip(".") + ".")
    @click.argument("repository")
    @click.pass_obj
    def command(context: Context, repository: str) -> None:
        found = _administration(context).act(repository, "fetch" if name == "add" else name)
        context.show(found, [])
        context.say(f"{name} of {found['repository']} has begun")

    return command


for _name, _words in (
    ("fetch", "Fetch REPOSITORY (host/path) into its mirror now."),
    ("snapshot", "Make a snapshot of REPOSITORY now."),
    ("repack", "Repack the mirror of REPOSITORY now."),
    ("scrub", "Read all of the mirror of REPOSITORY now, and mend or replace what is damaged."),
    ("forget", "Remove all that is kept of REPOSITORY; whoever asks next has it mirrored anew."),
    ("add", "Mirror REPOSITORY now, before anybody asks for it."),
):
    admin.add_command(_action(_name, _words))


@admin.command("log-level", short_help="Show or change the least level that is logged.")
@click.argument("level", type=click.Choice(_LEVELS), required=False)
@click.pass_obj
def log_level(context: Context, level: str | None) -> None:
    """Show the least level that is logged, or change it to LEVEL until the next start."""
    found = _administration(context).log_level(level)
    context.show({"level": found}, [found])


@admin.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on.")
@click.option(
    "-n", "--lines", "count", type=click.IntRange(0), default=50, show_default=True, help="How many to begin with."
)
@click.pass_obj
def tail(context: Context, follow: bool, count: int) -> None:
    """Show the last lines of the server's log."""
    administration = _administration(context)
    lines, last = administration.log(0)
    _show_lines(context, lines[-count:] if count else [])
    while follow:
        time.sleep(_PAUSE)
        lines, last = administration.log(last)
        _show_lines(context, lines)
        sys.stdout.flush()


@admin.command()
@click.pass_obj
def reload(context: Context) -> int:
    """Have the server read its config again. Exits with 1 when it has a mistake; then nothing has changed."""
    found = _administration(context).reload()
    lines = [f"counts now: {key}" for key in found["applied"]]
    lines += [f"counts from the next start: {key}" for key in found["waiting"]]
    context.show(found, lines)
    for problem in found["problems"]:
        click.echo(problem, err=True)
    if not lines and not found["problems"]:
        context.say("nothing has changed")
    return 1 if found["problems"] else 0


def _show_lines(context: Context, lines: list[str]) -> None:
    for line in lines:
        context.show({"line": line}, [line])


def _line(one: Any, now: float) -> str:
    checked = "never" if one["checked"] is None else _age(now - one["checked"])
    state = f"{one['state']}{'*' if one['stale'] else ''}"
    return f"{state:<10} {checked:>7}  {one['name']}{'  ' + one['error'] if one['error'] else ''}".rstrip()


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} ({inner})" for name, inner in value.items()) or "none"
    return "none" if value in (None, "") else str(value).lower() if isinstance(value, bool) else str(value)


def _age(seconds: float) -> str:
    """Return a time in the one unit that suits."""
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{int(max(seconds, 0)) // divisor} {unit}"
    return f"{int(seconds) // 86400} d"
