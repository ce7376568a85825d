"""What the options and arguments of commands are, for :mod:`cachew.cli.plainclick`; the names are click's own."""

import sys
from typing import Any, Callable, TextIO  # noqa: UP035 (Python 3.9)


class ClickException(Exception):
    """Something to tell the user."""

    def show(self, file: TextIO) -> None:
        """Write it."""
        file.write(f"Error: {self}\n")


class UsageError(ClickException):
    """The arguments make no sense."""


class Path:
    """The type of an argument that is a path."""

    def __init__(self, *, path_type: type = str) -> None:
        self._type = path_type

    def __call__(self, text: str) -> Any:
        """Convert it."""
        return self._type(text)


class File:
    """The type of an argument that is a file to be read; ``-`` is standard input."""

    def __init__(self, mode: str) -> None:
        self._mode = mode

    def __call__(self, text: str) -> Any:
        """Open it."""
        try:
            return sys.stdin.buffer if text == "-" else open(text, self._mode)
        except OSError as error:
            raise UsageError(f"{text!r}: {error.strerror}") from error


class IntRange:
    """The type of a number that is not too small."""

    def __init__(self, least: int) -> None:
        self._least = least

    def __call__(self, text: Any) -> int:
        """Convert it."""
        if not str(text).isdigit() or int(text) < self._least:
            raise UsageError(f"{text!r} is not a number from {self._least} on.")
        return int(text)


class Parameter:
    """An option or an argument.

    :param names: as click takes them.
    :param said: the rest of what the declaration says.
    """

    def __init__(self, names: "tuple[str, ...]", is_option: bool, said: "dict[str, Any]") -> None:
        self.options = [name for name in names if is_option and name.startswith("-")]
        plain = [name for name in names if not name.startswith("-")]
        longest = max(self.options, key=len, default="")
        self.name = plain[0] if plain else longest.lstrip("-").replace("-", "_")
        self.is_flag = bool(said.get("is_flag")) or "flag_value" in said
        self.value = said.get("flag_value", True)
        self.many = bool(said.get("multiple")) or said.get("nargs") == -1
        self.default = said.get("default", False if self.is_flag and "flag_value" not in said else None)
        self.required = not is_option and not self.many and "default" not in said
        self.metavar = said.get("metavar") or (self.name.upper() if not self.is_flag else "")
        self.help = said.get("help") or ""
        self.callback: Callable[[Any, Any, Any], object] = said.get("callback") or (lambda run, parameter, value: None)
        self.is_eager = bool(said.get("is_eager"))
        self.is_passed = bool(said.get("expose_value", True))
        self._type = said.get("type") or str

    def converted(self, text: Any) -> Any:
        """Return what the function gets."""
        return self._type(text)
