"""The settings that count at this moment, for those who ask again each time, and what came of changing them."""

from collections.abc import Sequence
from dataclasses import dataclass

from cachew.config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Reloaded:
    """What came of reading the config again.

    :param applied: keys that have changed and count now.
    :param waiting: keys that have changed and count from the next start.
    :param problems: why nothing has changed, one mistake each.
    """

    applied: Sequence[str] = ()
    waiting: Sequence[str] = ()
    problems: Sequence[str] = ()


class SettingsInForce:
    """Holds them; who is handed this sees each change.

    :param settings: those of the start.
    """

    def __init__(self, settings: Settings) -> None:
        self._now = settings

    @property
    def now(self) -> Settings:
        """The settings that count now."""
        return self._now

    def replace(self, settings: Settings) -> None:
        """Have others count."""
        self._now = settings
