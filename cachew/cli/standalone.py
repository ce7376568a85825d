"""The client that a server hands out: the same commands, with nothing but Python."""

import os
import sys


def main() -> None:
    """Run what the file is called after: ``cachew``, or ``git-remote-cachew``."""
    if os.path.basename(sys.argv[0]).startswith("git-remote-cachew"):
        from cachew.cli.remote import main as helper

        helper()
    from cachew.cli import plainclick

    sys.modules.setdefault("click", plainclick)
    from cachew.cli.launch import main as command

    command()
