"""The part of click that the handed-out client brings along understands what click itself understands."""

import io
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import click
import pytest

from cachew.cli import plainclick

LIBRARY = pytest.mark.parametrize("library", [click, plainclick], ids=["click", "plainclick"])


class Program:
    """A program of every kind of declaration that the commands use.

    :param library: click, or what stands in for it.
    """

    def __init__(self, library: ModuleType) -> None:
        self.library: Any = library
        self.calls: list[dict[str, Any]] = []
        self.noted: list[tuple[str | None, bool]] = []
        self.root = self._root()

    def _root(self) -> Any:
        library, calls = self.library, self.calls

        @library.group(context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "PROGRAM"})
        @library.option("--url", metavar="URL", help="Where.")
        @library.option("--json", "as_json", is_flag=True, help="As JSON.")
        @library.option("--over", is_flag=True, is_eager=True, expose_value=False, callback=self._over, help="End.")
        @library.pass_context
        def root(context: Any, url: str | None, as_json: bool) -> None:
            """Do things."""
            context.obj = SimpleNamespace(url=url, as_json=as_json)

        @root.command("put")
        @library.argument("name")
        @library.argument("file", type=library.File("rb"), default="-")
        @library.option("-H", "--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header.")
        @library.option("-n", "--count", type=library.IntRange(1), default=3, help="How many.")
        @library.option("--slow", "speed", flag_value="slow", default="slow", help="Don't hurry.")
        @library.option("--fast", "speed", flag_value="fast", help="Hurry.")
        @library.option("-o", "--output", type=library.Path(path_type=Path))
        @library.pass_obj
        def put(context: Any, name: str, file: Any, **more: Any) -> int:
            """Put NAME."""
            calls.append({"url": context.url, "json": context.as_json, "name": name, "file": file.read(), **more})
            return 7

        @library.command("clone", context_settings={"ignore_unknown_options": True})
        @library.argument("words", nargs=-1, type=library.UNPROCESSED)
        def clone(words: tuple[str, ...]) -> None:
            """Hand everything on."""
            calls.append({"words": words})

        @library.group()
        def inner() -> None:
            """Have commands of its own."""

        @inner.command("maybe")
        @library.argument("level", required=False, default=None)
        def maybe(level: str | None) -> None:
            """Say LEVEL."""
            calls.append({"level": level})

        put.params.append(
            library.Option(["--quiet"], is_flag=True, expose_value=False, callback=self._note, help="Say little.")
        )
        root.add_command(clone)
        root.add_command(inner)
        return root

    def _note(self, context: Any, parameter: Any, value: bool) -> None:
        self.noted.append((context.obj.url, value))

    def _over(self, context: Any, parameter: Any, value: bool) -> None:
        if value:
            self.library.echo("over")
            context.exit()

    def run(self, *words: str) -> Any:
        """Run it."""
        return self.root.main(list(words), prog_name="program", standalone_mode=False, obj=None)

    def refused(self, *words: str) -> str:
        """Return what is said about words that make no sense."""
        with pytest.raises(self.library.ClickException) as caught:
            self.run(*words)
        shown = io.StringIO()
        caught.value.show(shown)
        return shown.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A file to be read."""
    (tmp_path / "file").write_bytes(b"content")
    return str(tmp_path / "file")


DEFAULTS: dict[str, Any] = {"headers": (), "count": 3, "speed": "slow", "output": None}


@LIBRARY
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), {}),
        (("-H", "a=1", "--header=b=2"), {"headers": ("a=1", "b=2")}),
        (("-n5",), {"count": 5}),
        (("--count", "1"), {"count": 1}),
        (("--fast",), {"speed": "fast"}),
        (("-o", "there"), {"output": Path("there")}),
    ],
)
def test_options_before_and_after_arguments(
    library: ModuleType, file: str, words: tuple[str, ...], expected: dict[str, Any]
) -> None:
    """Short, long, glued, repeated and with a default: the function gets the same of each, wherever they stand."""
    found = {"url": "u", "json": True, "name": "name", "file": b"content", **DEFAULTS, **expected}
    for arguments in ((*words, "name", file), ("name", file, *words), ("name", *words, "--", file)):
        program = Program(library)
        assert program.run("--url", "u", "--json", "put", *arguments) == 7
        assert program.calls == [found]


@LIBRARY
@pytest.mark.parametrize("words", [("--over",), ("--json", "--over", "put", "--no-such-option")])
def test_what_is_over_before_it_begins(
    library: ModuleType, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that comes before all else, as ``--version`` does, needs no command and runs none."""
    program = Program(library)
    assert program.run(*words) == 0
    assert capsys.readouterr().out == "over\n"
    assert not program.calls


@LIBRARY
def test_a_variable_stands_for_an_option(library: ModuleType, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where the option is not given."""
    monkeypatch.setenv("PROGRAM_URL", "from outside")
    monkeypatch.setenv("PROGRAM_AS_JSON", "1")
    program = Program(library)
    program.run("put", "name", file)
    program.run("--url=here", "put", "name", file)
    assert [(call["url"], call["json"]) for call in program.calls] == [("from outside", True), ("here", True)]


@LIBRARY
def test_words_for_another_program(library: ModuleType) -> None:
    """A command that hands its words on gets options that it doesn't know among them."""
    program = Program(library)
    program.run("clone", "--depth=1", "-q", "url", "there")
    assert program.calls == [{"words": ("--depth=1", "-q", "url", "there")}]


@LIBRARY
def test_groups_within_groups(library: ModuleType) -> None:
    """And arguments that need not be there."""
    program = Program(library)
    program.run("inner", "maybe")
    program.run("inner", "maybe", "debug")
    assert program.calls == [{"level": None}, {"level": "debug"}]


@LIBRARY
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nothing",), "nothing"),
        (("put",), "NAME"),
        (("put", "name", "--nonsense"), "--nonsense"),
        (("put", "name", "-", "more"), "more"),
        (("put", "name", "--header"), "--header"),
        (("put", "name", "-n", "0"), "0"),
        (("put", "name", "-n", "some"), "some"),
        (("put", "name", "/no/such/file"), "/no/such/file"),
    ],
)
def test_mistakes_are_told(library: ModuleType, words: tuple[str, ...], told: str) -> None:
    """With the word that is wrong, and nothing is done."""
    program = Program(library)
    said = program.refused(*words)
    assert "Error: " in said and told in said
    assert program.calls == []


@LIBRARY
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--help",), ("Usage: program [OPTIONS]", "Do things.", "--url URL", "Where.", "Commands:", "clone", "put")),
        (("put", "-h"), ("Usage: program put [OPTIONS] NAME", "Put NAME.", "--header NAME=VALUE", "A header.")),
        (("inner", "--help"), ("Usage: program inner [OPTIONS]", "maybe", "Say LEVEL.")),
    ],
)
def test_help_names_everything(
    library: ModuleType, words: tuple[str, ...], told: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The usage, what the command does, and each option or command with its sentence."""
    assert Program(library).run(*words) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in told), said


@LIBRARY
def test_lines_for_the_user(library: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What is told goes where it belongs."""
    library.echo("result")
    library.echo("remark", err=True)
    assert capsys.readouterr() == ("result\n", "remark\n")


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever only types the name learns what there is."""
    assert Program(plainclick).run() == 0
    assert "Commands:" in capsys.readouterr().out


@LIBRARY
def test_an_option_that_only_tells(library: ModuleType, file: str) -> None:
    """What is told by an option goes to its callback and not to the function."""
    program = Program(library)
    program.run("--url", "u", "put", "x", file, "--quiet")
    program.run("put", "x", file)
    assert program.noted == [("u", True), (None, False)]
    assert all("quiet" not in call for call in program.calls)
