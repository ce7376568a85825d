"""Findings as a table for people and as JSON for programs (pure)."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from scripts.benchmarks.figures import Findings, Goal, Row

_HEADINGS = ("scenario", "server", "runs", "wall s", "ratio", "CPU s", "ratio", "peak MB", "upstream", "notes")


def table(findings: Findings) -> str:
    """Return the figures and the goals as text."""
    cells = [_HEADINGS, *(_cells(row, _peer(row, findings.rows)) for row in findings.rows)]
    text = _aligned(cells, left=(0, 1, 9))
    goals = [_goal_cells(goal) for goal in findings.goals]
    if goals:
        passed = sum(goal.passed for goal in findings.goals)
        text += "\n\n" + _aligned([("goal", "figure", "is", "may be", ""), *goals], left=(0, 1, 4))
        text += f"\n{passed} of {len(goals)} goals reached"
    return text + "".join(f"\nWRONG: {failure}" for failure in findings.failures)


def as_json(findings: Findings) -> dict[str, Any]:
    """Return the findings as what JSON can hold."""
    return {
        "group": findings.group,
        "facts": findings.facts,
        "rows": [_plain(asdict(row)) for row in findings.rows],
        "goals": [_plain(asdict(goal)) | {"passed": goal.passed} for goal in findings.goals],
        "failures": findings.failures,
    }


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Replace NaN, which JSON doesn't have."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in fields.items()
    }


def _peer(row: Row, rows: Sequence[Row]) -> Row | None:
    if row.server != "cachew":
        return None
    return next((one for one in rows if one.scenario == row.scenario and one.server == "nginx"), None)


def _cells(row: Row, peer: Row | None) -> tuple[str, ...]:
    wall_ratio = "" if peer is None else _ratio(row.wall, peer.wall)
    cpu_ratio = "" if peer is None or row.cpu is None or peer.cpu is None else _ratio(row.cpu, peer.cpu)
    return (
        row.scenario,
        row.server,
        str(row.runs),
        f"{row.wall:.3f}",
        wall_ratio,
        "" if row.cpu is None else f"{row.cpu:.3f}",
        cpu_ratio,
        "" if row.peak is None else f"{row.peak / 1e6:.0f}",
        "" if row.upstream is None else str(row.upstream),
        row.notes,
    )


def _ratio(value: float, peer: float) -> str:
    return f"{value / peer:.3f}x" if peer else ""


def _goal_cells(goal: Goal) -> tuple[str, ...]:
    verdict = "PASS" if goal.passed else "FAIL"
    return (
        goal.scenario,
        goal.figure,
        f"{goal.value:.3g}{_unit(goal)}",
        f"{goal.sense} {goal.limit:g}{_unit(goal)}",
        verdict,
    )


def _unit(goal: Goal) -> str:
    return goal.unit if goal.unit == "x" else f" {goal.unit}" if goal.unit else ""


def _aligned(cells: Sequence[Sequence[str]], *, left: Sequence[int]) -> str:
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = []
    for row in cells:
        padded = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)
