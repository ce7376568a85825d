"""Libraries beside Python's own, for a program that was started without looking for any (``python -S``).

Reading what is installed takes a quarter of an interpreter's start, and few commands need a library.
"""

import sys
import threading
from functools import lru_cache

_ONE_AT_A_TIME = threading.Lock()


def find_libraries() -> None:
    """Let libraries be found from now on; threads may ask for it at the same time."""
    with _ONE_AT_A_TIME:
        _look()


@lru_cache(maxsize=1)
def _look() -> None:
    if sys.flags.no_site:
        import site

        site.main()
