"""How long things took at most, beside how long they may."""

from scripts.torturing import bounds


class Durations:
    """The longest of each kind, by the name of its bound in :mod:`scripts.torturing.bounds`."""

    def __init__(self) -> None:
        self._longest: dict[str, float] = {}

    def note(self, bound: str, seconds: float) -> None:
        """Take notice of one more."""
        self._longest[bound] = max(seconds, self._longest.get(bound, 0.0))

    def __str__(self) -> str:
        """Return them in words."""
        return ", ".join(
            f"{bound} {seconds:.1f} of {getattr(bounds, bound):.0f} s" for bound, seconds in self._longest.items()
        )
