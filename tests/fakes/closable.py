"""Bytes whose end is seen."""

from cachew.plumbing.streams import BytesSource


class ClosableBytes(BytesSource):
    """Bytes that tell whether they were closed."""

    closed = False

    def close(self) -> None:
        """Note it."""
        self.closed = True
        super().close()
