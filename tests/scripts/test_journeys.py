"""Which modules of a server a request is said to have passed."""

from pathlib import Path

import cachew
from scripts.benchmarks.journeys import Journey

ROOT = Path(cachew.__file__).parent


def passed(module: str, function: str) -> None:
    """Call a function of a module of that name."""
    code = compile(f"def {function}():\n    return None\n{function}()\n", str(ROOT / f"{module}.py"), "exec")
    exec(code, {})


def test_what_begins_after_the_last_answer_is_not_the_requests() -> None:
    """A journey may take several requests; each is over when it is logged, and what is between them counts."""
    journey = Journey("push")
    with journey.under_way():
        passed("http/site", "begin")
        passed("web/app", "_ended")
        passed("web/passthrough", "stream")
        passed("web/app", "_ended")
        passed("mirrors/staleness", "pushed")
    assert journey.modules == ["http.site", "web.app", "web.passthrough"]
    assert journey.moves == 3
