"""Libraries beside Python's own, for a program that was started without looking for any (``python -S``).

Reading what is installed takes a quarter of an interpreter's start, and few commands need a library.
"""

import sys


def find_libraries() -> None:
    """Let libraries be found from now on."""
    if sys.flags.no_site:
        import site

        site.main()
