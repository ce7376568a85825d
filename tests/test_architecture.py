"""``docs/architecture.md`` speaks of what is there."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def rooms() -> dict[str, set[str]]:
    """Return the modules that the drawing of the house names, by package."""
    found: dict[str, set[str]] = {}
    package = part = ""
    for line in PAGE.partition("    cachew/\n")[2].partition("\nImports point down")[0].splitlines():
        if (begun := re.match(r" {6}([a-z]+)/ ", line)) is not None:
            package, part = begun[1], ""
        elif (begun := re.match(r" {8}([a-z]+)/ ", line)) is not None:
            part = f"/{begun[1]}"
        found.setdefault(package + part, set()).update(re.findall(r"(?<![\w/])([a-z_]+)\.py\b", line))
    return found


def test_every_module_in_the_drawing_is_there() -> None:
    """The drawing names no module that has been moved or removed."""
    named = {(package, name) for package, names in rooms().items() if package for name in names}
    assert len(named) > 100
    assert [
        f"{package}/{name}.py"
        for package, name in sorted(named)
        if not (ROOT / "cachew" / package / f"{name}.py").is_file()
    ] == []


def test_every_module_in_the_text_is_there() -> None:
    """The text names no module that has been moved or removed."""
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)+\.py)`", PAGE))
    assert [path for path in sorted(named) if not any((ROOT / root / path).is_file() for root in ("cachew", ""))] == []


def test_a_server_imports_what_its_config_uses() -> None:
    """What few configs ask for (an SSH server, GitHub Apps, object stores, pages) is imported with them."""
    program = "import cachew.tap, cachew.server.composition, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seldom = {"jinja2", "jwt", "twisted.conch", "obstore", "unittest", "cachew.client.http"}
    assert seldom.intersection(run.stdout.split()) == set()
