"""The command line of ``scripts/pictures``."""

import argparse
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from scripts.picturing.dashboard import photograph_all
from scripts.picturing.session import record

_KINDS = {"dashboard": photograph_all, "session": record}


async def make(reactor: Any, kinds: list[str]) -> None:
    """Make pictures."""
    for kind in kinds or list(_KINDS):
        await _KINDS[kind](reactor)


def main() -> None:
    """Make what is asked for, everything by default."""
    parser = argparse.ArgumentParser(prog="scripts/pictures", description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[*_KINDS, []], help="what to make; all by default")
    kinds = parser.parse_args().kinds
    react(lambda reactor: Deferred.fromCoroutine(make(reactor, kinds)))


if __name__ == "__main__":
    main()
