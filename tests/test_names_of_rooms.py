"""One word has one meaning: no two classes and no two modules of ``cachew/`` have the same name."""

import ast
from collections import Counter
from pathlib import Path

SOURCES = sorted((Path(__file__).resolve().parents[1] / "cachew").rglob("*.py"))

OF_EVERY_PACKAGE = {"__init__", "__main__"}
AS_CLICK_NAMES_THEM = {"Command", "Context"}
"""``cli/plainclick.py`` stands in for click where there is none, so what it has is called as there."""


def twice(names: list[str]) -> set[str]:
    """Return the names that occur more than once."""
    return {name for name, times in Counter(names).items() if times > 1}


def test_no_two_modules_have_one_name() -> None:
    """Whoever reads a module's name in a traceback knows which one it is."""
    assert twice([path.stem for path in SOURCES if path.stem not in OF_EVERY_PACKAGE]) == set()


def test_no_two_classes_have_one_name() -> None:
    """Whoever reads a class's name knows what it means, whichever package he is in."""
    trees = [ast.parse(path.read_text()) for path in SOURCES]
    classes = [node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert twice(classes) == AS_CLICK_NAMES_THEM
