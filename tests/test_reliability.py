"""What docs/reliability.md names exists, and its bounds are those of the code."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachew.config.settings import Settings
from cachew.plumbing.units import format_size
from scripts.torturing.accidents.all import ACCIDENTS

PROJECT = Path(__file__).parents[1]
PAGE = (PROJECT / "docs/reliability.md").read_text()
SECONDS = {"s": 1, "h": 3600}


def rows(heading: str) -> Iterator[list[str]]:
    """Yield the cells of the table below a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| ") and "---" not in line:
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


PROMISES = list(rows("Promises"))[1:]
BOUNDS = list(rows("Bounds"))[1:]


@pytest.mark.parametrize(("promise", "proofs"), PROMISES, ids=range(len(PROMISES)))
def test_each_promise_names_its_proof(promise: str, proofs: str) -> None:
    """A test that there is, or a kind of accident that there is."""
    named = re.findall(r"`([^`]+)`", proofs)
    assert named, promise
    for proof in named:
        kind = proof.removeprefix("torture: ")
        if kind != proof:
            assert kind in ACCIDENTS, proof
            continue
        file, _, test = proof.partition("::")
        assert re.search(rf"^(async )?def {test}\(", (PROJECT / "tests" / file).read_text(), re.MULTILINE), proof


def test_each_kind_of_accident_proves_something() -> None:
    """None is done for nothing."""
    assert sorted(set(re.findall(r"`torture: ([a-z0-9-]+)`", PAGE))) == sorted(ACCIDENTS)


@pytest.mark.parametrize(("what", "bound", "where"), BOUNDS, ids=range(len(BOUNDS)))
def test_each_bound_is_that_of_the_code(what: str, bound: str, where: str) -> None:
    """A setting's default, or a constant."""
    name = where.strip("`")
    value = constant(name) if re.search(r"\.[A-Z_]+$", name) else default(name)
    number, unit = bound.split(" ")
    assert value == float(number) * SECONDS[unit] if unit in SECONDS else format_size(int(value)) == bound, what


def constant(name: str) -> float:
    """Return what a module calls so."""
    module, _, attribute = name.rpartition(".")
    return float(getattr(importlib.import_module(module), attribute))


def default(key: str) -> float:
    """Return the default of a setting."""
    value: object = Settings()
    for part in key.split("."):
        value = getattr(value, part.replace("-", "_"))
    assert isinstance(value, int | float)
    return float(value)
