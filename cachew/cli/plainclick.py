"""As much of click as the ``cachew`` command uses, for the client that a server hands out.

That one runs on Pythons that click no longer supports, with nothing installed. The names are click's own, so that the
commands are written once; it stands in under click's name (:mod:`cachew.cli.standalone`).
"""

import os
import sys
from typing import Any, Callable  # noqa: UP035 (Python 3.9)

from cachew.cli.plainparameters import ClickException as ClickException
from cachew.cli.plainparameters import File as File
from cachew.cli.plainparameters import IntRange as IntRange
from cachew.cli.plainparameters import Parameter, UsageError
from cachew.cli.plainparameters import Path as Path

UNPROCESSED = str


class Abort(RuntimeError):
    """The user has had enough."""


class Context:
    """One run of a command.

    :param obj: what all commands share.
    """

    def __init__(self, obj: Any) -> None:
        self.obj = obj

    def exit(self) -> None:
        """End the program: all is said."""
        raise _Over


class HelpFormatter:
    """Never made here; the name is one of click's types."""


class Command:
    """A command.

    :param function: what it does.
    :param said: what its declaration says.
    """

    def __init__(self, name: "str | None", function: Callable[..., Any], said: "dict[str, Any]") -> None:
        self.name = name or function.__name__.replace("_", "-")
        self.params: list[Parameter] = list(reversed(getattr(function, "declared", [])))
        self.help = (function.__doc__ or "").replace("\b", "")
        self._function = function
        self.context_settings: dict[str, Any] = said.get("context_settings") or {}
        self._lenient = bool(self.context_settings.get("ignore_unknown_options"))

    def run(self, words: "list[str]", context: Context, prefix: str) -> Any:
        """Understand the arguments and do it."""
        return self.invoke(self.understood(words, prefix, interspersed=True)[0], context)

    def invoke(self, values: "dict[str, Any]", context: Context) -> Any:
        """Do it."""
        for one in (one for one in self.params if not one.is_passed):
            one.callback(context, one, values.pop(one.name, one.default))
        wanted = (context,) if getattr(self._function, "takes_run", False) else ()
        return self._function(*wanted, **values)

    def understood(self, words: "list[str]", prefix: str, *, interspersed: bool) -> "tuple[dict[str, Any], list[str]]":
        """Return the parameters' values, and the words that are left."""
        values: dict[str, Any] = {}
        plain: list[str] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word in ("--help", "-h") and not (self._lenient and word == "-h"):
                raise _Help(self._usage(prefix))
            if word == "--" and not self._lenient:
                plain += rest
                break
            if not word.startswith("-") or word == "-":
                plain.append(word)
                if not interspersed:
                    plain += rest
                    break
            else:
                self._option(word, rest, values, plain)
        left = self._arguments(plain, values) if interspersed else plain
        for one in self.params:
            if one.options and one.name not in values and (one.default is not None or not one.is_flag):
                values.setdefault(one.name, () if one.many else one.default)
        return values, left

    def _option(self, word: str, rest: "list[str]", values: "dict[str, Any]", plain: "list[str]") -> None:
        name, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
        one = next((one for one in self.params if name in one.options), None)
        if one is None:
            if not self._lenient:
                raise UsageError(f"No such option: {name}")
            plain.append(word)
            return
        if one.is_eager:
            one.callback(Context(None), one, one.value)
        if one.is_flag:
            values[one.name] = one.value
            return
        if not equals:
            if not rest:
                raise UsageError(f"Option {name!r} requires an argument.")
            value = rest.pop(0)
        converted = one.converted(value)
        values[one.name] = (*values.get(one.name, ()), converted) if one.many else converted

    def _arguments(self, plain: "list[str]", values: "dict[str, Any]") -> "list[str]":
        for one in (one for one in self.params if not one.options):
            if one.many:
                values[one.name] = tuple(map(one.converted, plain))
                plain = []
            elif plain:
                values[one.name] = one.converted(plain.pop(0))
            elif one.required:
                raise UsageError(f"Missing argument {one.metavar!r}.")
            else:
                values[one.name] = None if one.default is None else one.converted(one.default)
        if plain:
            raise UsageError(f"Got unexpected extra argument ({plain[0]})")
        return plain

    def _usage(self, prefix: str) -> str:
        arguments = " ".join(one.metavar for one in self.params if not one.options)
        shown = [f"Usage: {prefix} [OPTIONS] {arguments}".rstrip(), "", *map(_indented, self.help.strip().split("\n"))]
        options = [one for one in self.params if one.options and one.help]
        shown += ["", "Options:"] if options else []
        shown += [f"  {', '.join(one.options)} {one.metavar}".rstrip() + f"  {one.help}" for one in options]
        return "\n".join([*shown, *self.more()])

    def more(self) -> "list[str]":
        """Return what else the help says."""
        return []


class Group(Command):
    """A command of commands."""

    def __init__(self, name: "str | None", function: Callable[..., Any], said: "dict[str, Any]") -> None:
        super().__init__(name, function, said)
        self.commands: dict[str, Command] = {}
        self._environment = self.context_settings.get("auto_envvar_prefix", "")

    def add_command(self, command: Command) -> None:
        """Take a command."""
        self.commands[command.name] = command

    def command(self, name: "str | None" = None, **said: Any) -> Callable[[Callable[..., Any]], Command]:
        """Make a command of a function, and take it."""

        def decorate(function: Callable[..., Any]) -> Command:
            made = Command(name, function, said)
            self.add_command(made)
            return made

        return decorate

    def run(self, words: "list[str]", context: Context, prefix: str) -> Any:
        """Run the command that the words name."""
        values, left = self.understood(words, prefix, interspersed=False)
        for one in self.params:
            said = os.environ.get(f"{self._environment}_{one.name.upper()}") if self._environment else None
            if said and not values.get(one.name):
                values[one.name] = said.lower() in ("1", "true", "yes", "on") if one.is_flag else said
        if not left:
            raise _Help(self._usage(prefix))
        command = self.commands.get(left[0])
        if command is None:
            raise UsageError(f"No such command {left[0]!r}.")
        self.invoke(values, context)
        return command.run(left[1:], context, f"{prefix} {command.name}")

    def more(self) -> "list[str]":
        """List the commands."""
        firsts = {name: one.help.strip().split("\n")[0] for name, one in self.commands.items()}
        return ["", "Commands:", *(f"  {name}  {first}" for name, first in firsts.items())]

    def main(self, arguments: "list[str] | None", *, prog_name: str, standalone_mode: bool, obj: Any) -> Any:
        """Run the program."""
        try:
            return self.run(sys.argv[1:] if arguments is None else list(arguments), Context(obj), prog_name)
        except _Help as shown:
            echo(str(shown))
            return 0
        except _Over:
            return 0


class _Help(Exception):
    """The user has asked for help."""


class _Over(Exception):
    """There is nothing more to do."""


def command(name: "str | None" = None, **said: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a command of a function."""
    return lambda function: Command(name, function, said)


def group(name: "str | None" = None, *, cls: type = Group, **said: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a group of a function."""
    return lambda function: cls(name, function, said)


def option(*names: str, **said: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare an option."""
    return lambda function: _declare(function, Parameter(names, True, said))


def argument(name: str, **said: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare an argument."""
    return lambda function: _declare(function, Parameter((name,), False, said))


def Option(names: "list[str]", **said: Any) -> Parameter:
    """Make an option."""
    return Parameter(tuple(names), True, said)


def pass_obj(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give the function what all commands share."""
    return _like(function, lambda context, **values: function(context.obj, **values))


def pass_context(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give the function the run."""
    return _like(function, lambda context, **values: function(context, **values))


def echo(text: str = "", *, err: bool = False) -> None:
    """Write a line."""
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{text}\n")
    stream.flush()


def _declare(function: Callable[..., Any], parameter: Parameter) -> Callable[..., Any]:
    known: list[Parameter] = getattr(function, "declared", [])
    function.declared = [*known, parameter]  # type: ignore[attr-defined]
    return function


def _like(original: Callable[..., Any], made: Callable[..., Any]) -> Callable[..., Any]:
    made.__name__, made.__doc__ = original.__name__, original.__doc__
    made.declared = getattr(original, "declared", [])  # type: ignore[attr-defined]
    made.takes_run = True  # type: ignore[attr-defined]
    return made


def _indented(line: str) -> str:
    return f"  {line.strip()}".rstrip()
