"""How work in the client tells its user what it is doing."""

from typing import Protocol


class TransferProgress(Protocol):
    """Whoever watches; methods may be called from any thread."""

    def begin(self, label: str, total: int | None) -> None:
        """Say that a transfer starts, or starts over.

        :param total: its size in bytes, None when the server does not know yet.
        """

    def advance(self, count: int) -> None:
        """Count bytes of the transfer."""

    def finish(self) -> None:
        """Say that the transfer is over, well or badly."""

    def say(self, text: str) -> None:
        """Tell the user something."""

    def warn(self, text: str) -> None:
        """Tell the user of something that went wrong and does not end the work."""
