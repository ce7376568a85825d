"""A program that is started before anybody has time for its answer.

Starting ``subprocess`` and waiting for a program cost as much as what a short one does; meanwhile the other imports can
go on. Imports nothing but ``os``, since every fetch through the remote helper may wait for it.
"""

import os

TYPE_CHECKING = False  # what typing says, which takes as long to import as everything else
if TYPE_CHECKING:
    from collections.abc import Mapping

_PIECE = 64 * 1024


class AskedProgram:
    """A program under way, of which only its output counts.

    :param program: its name, which is looked for on the PATH.
    :param arguments: what it is told.
    :param environ: its environment.
    :raise OSError: when it can't be started.
    """

    def __init__(self, program: str, *arguments: str, environ: "Mapping[str, str]") -> None:
        self._reading, writing = os.pipe()
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, writing, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        try:
            self._process = os.posix_spawnp(program, [program, *arguments], environ, file_actions=actions)
        except BaseException:
            os.close(self._reading)
            raise
        finally:
            os.close(writing)

    def answer(self) -> bytes:
        """Wait for all that it says; may be called once."""
        pieces = []
        with os.fdopen(self._reading, "rb", buffering=0) as output:
            while piece := output.read(_PIECE):
                pieces.append(piece)
        os.waitpid(self._process, 0)
        return b"".join(pieces)
