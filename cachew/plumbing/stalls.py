"""Whether the reactor's thread stands still, and where: seen by another thread, since it can't say so itself.

The reactor notes four times in the longest standstill that it goes on. The other thread looks when that should have
been four times, and closely only at one that has not. Whoever was not run itself meanwhile (a stopped process, a
suspended machine) accuses nobody.
"""

import sys
import threading
from collections.abc import Callable
from types import FrameType

from cachew.plumbing.clock import Clock

BEATS = 4
"""How often the reactor says that it goes on in the longest standstill."""
_FRAMES = 40


class StallWatch:
    """Tells once of each standstill of the thread that starts it.

    :param longest: seconds that it may last.
    :param tell: called from the other thread with the seconds so far and with where the first one stands.
    :param clock: tells how long one lasts, in both threads.
    """

    def __init__(
        self,
        *,
        longest: float,
        tell: Callable[[float, str], object],
        clock: Clock,
    ) -> None:
        self._longest = longest
        self._tell = tell
        self._clock = clock
        self._watched = 0
        self._beat = self._looked = clock.seconds()
        self._told = float("-inf")
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def pause(self) -> float:
        """Seconds between two beats."""
        return self._longest / BEATS

    def start(self) -> None:
        """Watch the thread that calls this."""
        self.watch_this_thread()
        self._thread = threading.Thread(target=self._run, name="cachew-stalls", daemon=True)
        self._thread.start()

    def watch_this_thread(self) -> None:
        """Take the calling thread for the one that is watched."""
        self._watched = threading.get_ident()
        self._beat = self._looked = self._clock.seconds()

    def beat(self) -> None:
        """The watched thread goes on."""
        self._beat = self._clock.seconds()

    def stop(self) -> None:
        """Watch no more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(self._longest)

    def _run(self) -> None:
        while not self._ended.wait(self.until_next_look()):
            self.look()

    def until_next_look(self) -> float:
        """Return the seconds for which there can't be anything to tell."""
        return max(self.pause, self._beat + self._longest - self._clock.seconds())

    def look(self) -> None:
        """Tell if the watched thread stands still, unless this one was not run itself."""
        now, beat = self._clock.seconds(), self._beat
        late, self._looked = now - self._looked > 2 * self.pause, now
        if not late and beat != self._told and now - beat > self._longest + self.pause:
            self._told = beat
            self._tell(now - beat, where(sys._current_frames().get(self._watched)))


def where(frame: FrameType | None) -> str:
    """Return a stack in one line, what was called last first."""
    places: list[str] = []
    while frame is not None and len(places) < _FRAMES:
        places.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(places) or "nowhere"
