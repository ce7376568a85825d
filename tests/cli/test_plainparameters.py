"""What options and arguments are, where click is not imported."""

import io
from pathlib import Path as FilePath
from typing import Any

import pytest

from cachew.cli.plainparameters import File, IntRange, Parameter, Path, UsageError


def option(*names: str, **said: Any) -> Parameter:
    """Return an option."""
    return Parameter(names, True, said)


def argument(name: str, **said: Any) -> Parameter:
    """Return an argument."""
    return Parameter((name,), False, said)


@pytest.mark.parametrize(
    ("names", "name", "options"),
    [
        (("--zstd-threads",), "zstd_threads", ["--zstd-threads"]),
        (("-H", "--hash-files", "globs"), "globs", ["-H", "--hash-files"]),
        (("-n", "--lines"), "lines", ["-n", "--lines"]),
    ],
)
def test_an_option_is_named_as_click_names_it(names: tuple[str, ...], name: str, options: list[str]) -> None:
    """By what has no dashes, otherwise by its longest spelling."""
    found = option(*names)
    assert (found.name, found.options, found.required) == (name, options, False)


def test_what_an_option_is_without_being_given() -> None:
    """A flag is off, one with a value of its own is nothing, others have their default or none."""
    assert option("--follow", is_flag=True).default is False
    hourly = option("--hourly", "stamp", flag_value="%H")
    assert (hourly.is_flag, hourly.value, hourly.default, hourly.metavar) == (True, "%H", None, "")
    assert option("--url").default is None and option("--count", default=50).default == 50


@pytest.mark.parametrize(
    ("said", "required", "many"),
    [({}, True, False), ({"default": "."}, False, False), ({"nargs": -1}, False, True)],
)
def test_which_arguments_must_be_given(said: dict[str, Any], required: bool, many: bool) -> None:
    """Those without a default of which there is one."""
    found = argument("directory", **said)
    assert (found.required, found.many, found.metavar, found.options) == (required, many, "DIRECTORY", [])


@pytest.mark.parametrize("text", ["", "-1", "x", "1.5", "0", " 1"])
def test_a_number_that_is_none_or_too_small(text: str) -> None:
    """The complaint says what it has to be."""
    with pytest.raises(UsageError, match="from 1 on"):
        option("--count", type=IntRange(1)).converted(text)


def test_what_a_function_gets() -> None:
    """A number, a path or a text."""
    assert option("--count", type=IntRange(1)).converted("7") == 7
    assert option("--file", type=Path(path_type=FilePath)).converted("a/b") == FilePath("a/b")
    assert option("--name").converted("x") == "x"


def test_a_file_is_opened(tmp_path: FilePath) -> None:
    """One that can't be is the user's mistake, which is told in the system's words."""
    (tmp_path / "f").write_bytes(b"content")
    with File("rb")(str(tmp_path / "f")) as file:
        assert file.read() == b"content"
    with pytest.raises(UsageError, match="No such file") as caught:
        File("rb")(str(tmp_path / "none"))
    shown = io.StringIO()
    caught.value.show(shown)
    assert shown.getvalue() == f"Error: {caught.value}\n"
