"""Starts the ``cachew`` command, and loads no more for it than it needs.

What a restore of a small repository waits for is Python and its imports, and of these the library that understands
arguments is the largest. A restore whose arguments are beyond doubt is understood by the few lines that the client
without libraries has (:mod:`cachew.cli.plainclick`); all else, help and mistakes among it, is click's.
"""

import gc
import os
import sys

TYPE_CHECKING = False  # what typing says, which takes as long to import as this module's work
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable, Sequence
else:
    import _signal as signal  # without the enumerations of the public module

GLOBAL_FLAGS, GLOBAL_VALUES = frozenset(("--json", "--quiet")), frozenset(("--url", "--authorization"))
"""Options before the command that both understand alike: those that stand alone, and those with the next word."""
FLAGS = frozenset(("--json", "--quiet", "--no-bundle", "--lfs", "--force"))
VALUES = frozenset(("--ref", "--commit"))
"""Those of the command."""
VARIABLES = frozenset(("CACHEW_URL", "CACHEW_AUTHORIZATION"))
"""Variables that mean the same to both."""
_COMMAND = ("git", "restore")
_OBJECTS = 100_000


def main() -> None:
    """Run as a program."""
    # Until there is anything to clean up, an interrupt ends it as it ends others, and not in the midst of an import.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Hardly anything of what so short a program makes is garbage; looking for it took a tenth of its start.
    gc.set_threshold(_OBJECTS)
    if is_plain_restore(sys.argv[1:], os.environ):
        from cachew.cli import plainclick

        sys.modules.setdefault("click", plainclick)
    from cachew.cli.main import main as command

    command()


def is_plain_restore(words: "Sequence[str]", environ: "Iterable[str]") -> bool:
    """Tell whether a command line is a ``git restore`` that all understand alike (pure).

    :param words: without the program's name.
    :param environ: the names of the environment's variables.
    """
    if any(name.startswith(("CACHEW_", "_CACHEW_")) and name not in VARIABLES for name in environ):
        return False
    plain: list[str] = []
    rest = iter(words)
    for word in rest:
        flags, values = ((GLOBAL_FLAGS, GLOBAL_VALUES), ((), ()), (FLAGS, VALUES))[min(len(plain), 2)]
        if not word.startswith("-"):
            plain.append(word)
        elif word not in flags and (word not in values or next(rest, "-").startswith("-")):
            return False
    return tuple(plain[:2]) == _COMMAND and len(plain) == 4


if __name__ == "__main__":
    main()
