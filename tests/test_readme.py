"""The README says what is so."""

import re
from pathlib import Path

from cachew.config.document import table

ROOT = Path(__file__).parent.parent


def test_every_key_is_in_the_readme() -> None:
    """The README ends with the table of all config keys, as the settings themselves describe them."""
    assert (ROOT / "README.md").read_text().endswith(table())


def test_links_lead_somewhere() -> None:
    """Every relative link in the README and the documents names a file that is there."""
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
