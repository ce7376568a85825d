"""The ``cachew`` command: parses arguments, prints what came of them, and turns failures into exit statuses.

Exit statuses: 0 done, 1 failed (a mistake in the arguments too), 2 a cache miss of ``restore``, 130 interrupted.
"""

import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import click

from cachew.cli.context import DAILY, DEFAULT_URL, HOURLY, Context
from cachew.cli.doctor import doctor
from cachew.cli.gitcommands import git
from cachew.cli.objectcommands import delete, get, namespaces, put, stat, stats
from cachew.cli.saved import restore, save
from cachew.cli.terminal import harmless
from cachew.plumbing.errors import CachewError

_SOON = 0.01
_WHOLE = hasattr(click, "Choice")
"""Whether all of click is here: a client without it has no ``admin`` and no ``migrate-config``."""
_GROUPS = {
    "Repositories": ("git", "doctor"),
    "Directories": ("save", "restore"),
    "Objects": ("get", "put", "stat", "delete", "namespaces", "stats"),
    "Servers": ("admin", "migrate-config"),
}


class _Grouped(click.Group):
    """A group whose help lists its commands by subject."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for every subject."""
        for title, names in _GROUPS.items():
            with formatter.section(title):
                there = [name for name in names if name in self.commands]
                formatter.write_dl([(name, self.commands[name].get_short_help_str(80)) for name in there])


def _show_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from cachew.version import version

        click.echo(f"cachew {version()}")
        context.exit()


def _with_version(function: Callable[..., None]) -> Callable[..., None]:
    """Give the program ``--version``."""
    return click.option(
        "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
    )(function)


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
@click.option("--json", "as_json", is_flag=True, help="Write results as JSON; each command takes this too.")
@click.option("--quiet", is_flag=True, help="Tell results and failures only; each command takes this too.")
@_with_version
@click.option("--platform", is_flag=True, help="Prefix keys with the platform: linux-amd64-KEY.")
@click.option("--daily", is_flag=True, help="Prefix keys with the date: 2026-01-31-KEY.")
@click.option("--hourly", is_flag=True, help="Prefix keys with date and hour: 2026-01-31-23-KEY.")
@click.pass_context
def cachew(
    context: click.Context,
    url: str | None,
    authorization: str | None,
    platform: bool,
    daily: bool,
    hourly: bool,
    as_json: bool,
    quiet: bool,
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
    # A variable that was read from a file often ends in a newline.
    authorization = (authorization or "").strip()
    if not authorization.isprintable() or not all(ord(c) < 0x100 for c in authorization):
        raise click.UsageError(
            "--authorization (or CACHEW_AUTHORIZATION) holds a line break or another character that no header can hold."
        )
    context.obj = Context(
        learnt=(context.obj if context.obj is not None else []).append,
        url=(url or "").strip() or None,
        authorization=authorization or None,
        platform=platform,
        stamp=HOURLY if hourly else DAILY if daily else "",
        json=as_json,
        quiet=quiet,
    )


def _with_output_options(command: click.Command) -> None:
    """Give a command, and all below it, the options that say how results are told."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _with_output_options(inner)
        return
    if command.context_settings.get("ignore_unknown_options"):
        # What it doesn't know is for another program, which has a --quiet of its own.
        return
    command.params += [
        click.Option(["--json"], is_flag=True, expose_value=False, callback=_noted("json"), help="Write JSON."),
        click.Option(
            ["--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_noted("quiet"),
            help="Tell results and failures only.",
        ),
    ]


def _noted(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def note(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            setattr(context.obj, name, True)

    return note


for command in (git, doctor, save, restore, get, put, stat, delete, namespaces, stats):
    cachew.add_command(command)
if _WHOLE:
    from cachew.cli.admincommands import admin
    from cachew.cli.migrate import migrate_config

    cachew.add_command(admin)
    cachew.add_command(migrate_config)
_with_output_options(cachew)


def run(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status.

    Whatever happens is told in words, without a traceback and without a secret.

    :param arguments: without the program's name; None for those of the process.
    """
    secrets: list[str] = []
    try:
        status = cachew.main(arguments, prog_name="cachew", standalone_mode=False, obj=secrets)
        # What was printed may only now turn out to fit nowhere.
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        _tell(shown.getvalue().rstrip("\n"), arguments, secrets)
    except (click.Abort, KeyboardInterrupt):
        _tell("cachew: interrupted; nothing was kept", arguments, secrets)
        return 130
    except CachewError as error:
        _tell(f"cachew: {error}", arguments, secrets)
        if advice := getattr(error, "advice", ""):
            _tell(f"  {advice}", arguments, secrets)
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more is to be written, not even by the interpreter at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _tell(f"cachew: {error}", arguments, secrets)
    except MemoryError:
        _tell("cachew: there is not enough memory", arguments, secrets)
    except Exception as error:  # the top: whoever uses a command is told a sentence
        _tell(f"cachew: that failed in a way nobody has foreseen: {type(error).__name__}: {error}", arguments, secrets)
        _tell("  Please report what you did and this line.", arguments, secrets)
    return 1


def _tell(text: str, arguments: list[str] | None, learnt: list[str]) -> None:
    """Write to standard error, if that is to be written to, without what is secret."""
    from cachew.cli.secrets import masked, secrets_of  # which those need not wait for who get what they want

    with suppress(OSError, ValueError):
        secrets = [*learnt, *secrets_of(_authorization(arguments), os.environ)]
        click.echo(harmless(masked(text, secrets)), err=True)


def _authorization(arguments: list[str] | None) -> str | None:
    """Return the credential that was given, though the arguments may not have been understood."""
    words = iter(sys.argv[1:] if arguments is None else arguments)
    for word in words:
        if word == "--authorization":
            return next(words, None)
        if word.startswith("--authorization="):
            return word.partition("=")[2]
    return os.environ.get("CACHEW_AUTHORIZATION")


def _usable_streams() -> None:
    """Have both outputs there, and take every character; what is written to a closed one fails like on a full disk."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDONLY), "w"))
        getattr(sys, name).reconfigure(errors="backslashreplace")


def _interrupt(number: int, _: object) -> NoReturn:
    """Break off what is under way, but not what cleans up then: ``timeout`` and a shell that ends tell us twice."""
    for again in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(again, signal.SIG_IGN)
    raise KeyboardInterrupt


def _interrupt_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Have an interrupt come again that came within a destructor, where Python drops what is raised."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _SOON)


def main() -> NoReturn:
    """Run as a program."""
    # A plain end would leave the staging directory behind; nohup has its own way with the end of a terminal.
    signal.signal(signal.SIGTERM, _interrupt)
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    threading.excepthook = lambda arguments: None
    sys.unraisablehook = _interrupt_again
    _usable_streams()
    status = run()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    # Threads may still wait for a server that does not answer; the user does not, nor while modules are taken apart.
    os._exit(status)


if __name__ == "__main__":
    main()
