"""The README and the pages say what is so."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from cachew.cli.main import cachew
from cachew.config.document import table
from cachew.tap import Options

ROOT = Path(__file__).parent.parent


def test_every_key_is_in_the_reference() -> None:
    """The configuration's page ends with the table of all keys, as the settings themselves describe them."""
    assert (ROOT / "docs" / "configuration.md").read_text().endswith(table())


def leaves(command: click.Command, words: str) -> Iterator[tuple[str, set[str]]]:
    """Yield every command with the long names of its own options."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from leaves(inner, f"{words} {name}")
    else:
        yield words, {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


def test_every_command_is_in_the_reference() -> None:
    """The commands' page has each command of ``cachew`` and no other, and each option of ``twistd cachew``."""
    page = (ROOT / "docs" / "commands.md").read_text()
    told = re.findall(r"^\| `(cachew(?: [a-z-]+)+)", page, re.M)
    assert sorted(told) == sorted(words for words, _ in leaves(cachew, "cachew"))
    server = Options()
    own = {"config", "state", "listen", "check", "schema", "version"}
    assert own == {name.rstrip("=") for name in server.longOpt} - {"help"}
    assert [name for name in own if f"`--{name}" not in page] == []


def test_links_lead_somewhere() -> None:
    """Every relative link in the README and the documents names a file that is there."""
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
