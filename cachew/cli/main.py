"""The ``cachew`` command: parses arguments, prints what came of them, and turns failures into exit statuses.

Exit statuses: 0 done, 1 failed (a mistake in the arguments too), 2 a cache miss of ``restore``, 130 interrupted.
"""

import os
import signal
import sys
from typing import NoReturn

import click

from cachew.cli.context import DEFAULT_URL, Context
from cachew.cli.git import git
from cachew.cli.objects import delete, get, namespaces, put, stat, stats
from cachew.cli.saved import restore, save
from cachew.plumbing.errors import CachewError

_GROUPS = {
    "Repositories": ("git",),
    "Directories": ("save", "restore"),
    "Objects": ("get", "put", "stat", "delete", "namespaces", "stats"),
}


class _Grouped(click.Group):
    """A group whose help lists its commands by subject."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for every subject."""
        for title, names in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(80)) for name in names])


@click.group(cls=_Grouped, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "CACHEW"})
@click.option(
    "--url",
    metavar="URL",
    show_envvar=True,
    help=f"The cachew server.  [default: {DEFAULT_URL}]",
)
@click.option(
    "--authorization",
    metavar="VALUE",
    show_envvar=True,
    help='The Authorization header, such as "Bearer TOKEN". Better set in the environment.',
)
@click.option("--platform", is_flag=True, help="Prefix keys with the platform: linux-amd64-KEY.")
@click.option("--daily", is_flag=True, help="Prefix keys with the date: 2026-01-31-KEY.")
@click.option("--hourly", is_flag=True, help="Prefix keys with date and hour: 2026-01-31-23-KEY.")
@click.pass_context
def cachew(
    context: click.Context, url: str | None, authorization: str | None, platform: bool, daily: bool, hourly: bool
) -> None:
    """Fast checkouts and cached files from a cachew server.

    \b
    Examples:
      cachew --url http://cachew.example git restore https://github.com/org/repo repo
      cachew save node NODE_MODULES_DIR -H package-lock.json
      cachew restore node NODE_MODULES_DIR -H package-lock.json
    """
    if daily and hourly:
        raise click.UsageError("--daily and --hourly exclude each other.")
    context.obj = Context(
        url=url or None, authorization=authorization or None, platform=platform, daily=daily, hourly=hourly
    )


for command in (git, save, restore, get, put, stat, delete, namespaces, stats):
    cachew.add_command(command)


def run(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status.

    :param arguments: without the program's name; None for those of the process.
    """
    try:
        status = cachew.main(arguments, prog_name="cachew", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
    except (click.Abort, KeyboardInterrupt):
        click.echo("cachew: interrupted; nothing was kept", err=True)
        return 130
    except CachewError as error:
        click.echo(f"cachew: {error}", err=True)
        if advice := getattr(error, "advice", ""):
            click.echo(f"  {advice}", err=True)
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more is to be written, not even by the interpreter at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        click.echo(f"cachew: {error}", err=True)
    return 1


def main() -> NoReturn:
    """Run as a program."""
    # A plain end would leave the staging directory behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    status = run()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads may still wait for a server that does not answer; the user does not, nor while modules are taken apart.
    os._exit(status)


if __name__ == "__main__":
    main()
