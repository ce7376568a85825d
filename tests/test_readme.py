"""The README and the pages say what is so."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from cachew.cli.main import cachew
from cachew.config.document import table
from cachew.config.load import load
from cachew.tap import Options
from tests.exitcodes import exit_codes
from tests.logevents import log_events

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))


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


def anchors(page: Path) -> set[str]:
    """Return what links to a page's headings may name, as GitHub and Sphinx make it of them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    """Every relative link in the README and the pages names a file that is there, and a heading of it."""
    for document in (ROOT / "README.md", *PAGES):
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", document.read_text()):
            page = document.parent / target if target else document
            assert page.exists(), f"{document.name} links to {target}"
            assert not anchor or anchor in anchors(page), f"{document.name} links to {target}#{anchor}"


def test_every_page_is_in_the_index() -> None:
    """What Sphinx would warn of: a page that no list of contents has, or one that isn't there."""
    listed = re.findall(r"```{toctree}\n(?::[^\n]*\n)*\n(.*?)```", (ROOT / "docs" / "index.md").read_text(), re.S)
    assert sorted("".join(listed).split()) == sorted(page.stem for page in PAGES if page.stem != "index")


def test_examples_of_configs_are_without_mistakes() -> None:
    """Each block of TOML in the README and the pages can be read as a config."""
    environ = dict.fromkeys(("S3_KEY", "S3_SECRET", "MONITORING_TOKEN"), "a-secret-of-some-length")
    blocks = [
        (page.name, block)
        for page in (ROOT / "README.md", *PAGES)
        for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.M | re.S)
    ]
    assert len(blocks) >= 10
    for name, block in blocks:
        assert load(block, file=name, environ=environ)


def test_every_log_event_is_in_the_reference() -> None:
    """The page of log events has each that the code can log, below its level, and no other."""
    page = (ROOT / "docs" / "log.md").read_text()
    told = set()
    for section in page.split("\n## ")[1:]:
        level = section.partition("\n")[0]
        told |= {(level, event) for event in re.findall(r"^\| `([^`]+)` \| \S", section, re.M)}
    assert told == log_events()


def test_every_exit_code_is_in_the_reference() -> None:
    """The commands' page has each status that one of the programs ends with, and no other."""
    page = (ROOT / "docs" / "commands.md").read_text()
    table = page.partition("### Exit codes")[2].partition("###")[0]
    rows = re.findall(r"^\| ([0-9, +]+) \| ((?:`[^`]+`(?:, )?)+) \| \S", table, re.M)
    told = {(int(code), program) for code, programs in rows for program in re.findall("`([^`]+)`", programs)}
    assert told == exit_codes()


def test_transcripts_are_of_the_scenes() -> None:
    """Each scene has been played in each release as it stands, and its transcript is on the page."""
    page = (ROOT / "docs" / "transcripts.md").read_text()
    scenes = sorted((ROOT / "scripts" / "rooting" / "scenes").glob("*.sh"))
    assert scenes
    for scene in scenes:
        for release in ("bookworm", "trixie"):
            name = f"transcripts/{release}-{scene.stem}.txt"
            assert f"```{{literalinclude}} {name}\n" in page
            lines = iter((ROOT / "docs" / name).read_text().splitlines())
            missing = [line for line in scene.read_text().splitlines() if line not in lines]
            assert not missing, f"play {scene.name} again: scripts/roots -s {scene.stem} {release}"
