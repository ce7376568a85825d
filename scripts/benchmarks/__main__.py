"""``scripts/bench``: measures everything that is claimed about cachew, against peers that it starts itself.

Only loopback is used. Generated repositories are kept for the next run. The exit status is 1 when a result was wrong
(a broken clone, a failed client), 0 otherwise, whether or not the goals are reached.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scripts.benchmarks.chart import bars, svg
from scripts.benchmarks.clone import clones
from scripts.benchmarks.crowds import fetches, listings, slow_readers
from scripts.benchmarks.curves import curves
from scripts.benchmarks.curves import svg as curves_svg
from scripts.benchmarks.figures import Findings
from scripts.benchmarks.growth import growth
from scripts.benchmarks.helper import helped
from scripts.benchmarks.links import links
from scripts.benchmarks.nginxgit import missing_commands
from scripts.benchmarks.report import as_json, table
from scripts.benchmarks.repositories import FULL, QUICK
from scripts.benchmarks.snapshot import snapshots
from scripts.benchmarks.stage import Options, Stage
from scripts.benchmarks.store import store


def _staged(scenarios: Callable[[Stage], Findings]) -> Callable[[Options], Findings]:
    """Return what sets the stage for scenarios and runs them."""

    def run(options: Options) -> Findings:
        with Stage(options) as stage:
            return scenarios(stage)

    return run


GROUPS: Mapping[str, Callable[[Options], Findings]] = {
    "clone": _staged(clones),
    "fetch": _staged(fetches),
    "refs": _staged(listings),
    "slow": _staged(slow_readers),
    "snapshot": _staged(snapshots),
    "helper": _staged(helped),
    "store": store,
    "growth": growth,
    "link": links,
}


def main() -> int:
    """Run what the command line asks for."""
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers are stopped on the way out
    work = arguments.work / ("quick" if arguments.quick else "full")
    if arguments.what == "plot":
        return _plot(work / "results.json" if arguments.json is None else arguments.json, arguments.output)
    if missing := missing_commands():
        packages = " ".join(missing)
        print(f"commands are missing; install them with:\n    apt-get install -y {packages}", file=sys.stderr)
        return 2
    work.mkdir(parents=True, exist_ok=True)
    options = Options(work, QUICK if arguments.quick else FULL, arguments.repo, arguments.quick)
    groups = list(GROUPS) if arguments.what == "all" else [arguments.what]
    results = work / "results.json" if arguments.json is None else arguments.json
    return _run(groups, options, results)


def _parser() -> argparse.ArgumentParser:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cachew-bench"
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("what", choices=["all", *GROUPS, "plot"], help="a group of scenarios; plot draws the chart")
    parser.add_argument("--repo", type=Path, metavar="PATH", help="measure this repository instead of generated ones")
    parser.add_argument("--work", type=Path, default=cache, metavar="DIR", help=f"where everything is kept ({cache})")
    parser.add_argument("--quick", action="store_true", help="small repositories, one run of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the results go (DIR/full/results.json)")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmark.svg"), metavar="FILE", help="the chart")
    return parser


def _run(groups: list[str], options: Options, results: Path) -> int:
    stored: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    wrong = False
    for group in groups:
        begin = time.monotonic()
        findings = GROUPS[group](options)
        findings.facts["seconds"] = round(time.monotonic() - begin, 1)
        stored[group] = as_json(findings)
        results.write_text(json.dumps(stored, indent=1) + "\n")
        print(f"\n== {group} ({findings.facts['seconds']} s)\n{table(findings)}", flush=True)
        wrong = wrong or bool(findings.failures)
    print(f"\nThe figures are in {results}")
    return int(wrong)


def _plot(results: Path, output: Path) -> int:
    stored = json.loads(results.read_text())
    drawn = bars(stored)
    output.parent.mkdir(parents=True, exist_ok=True)
    if drawn:
        output.write_text(svg(drawn))
        print(f"{len(drawn)} bars are in {output}")
    if "growth" in stored:
        beside = output.with_name("growth.svg")
        beside.write_text(curves_svg(curves(stored["growth"])))
        print(f"the curves are in {beside}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
