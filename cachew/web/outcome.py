"""What a request turned out to be, noted by whoever answers it, for the request log and the metrics."""

from dataclasses import dataclass
from typing import cast

from zope.interface import Interface

from cachew.http.requests import StreamingRequest


class IOutcome(Interface):
    """The component of a request that is its :class:`Outcome`."""


@dataclass
class Outcome:
    """Notes about one request.

    :param route: what was asked for, out of a small fixed vocabulary (``git info/refs``, ``api``); a metrics label.
    :param source: where the answer came from (``mirror``, ``upstream``, …), empty when that means nothing.
    """

    route: str = "other"
    source: str = ""


def outcome_of(request: StreamingRequest) -> Outcome:
    """Return the notes of a request; of one that the app has not seen, fresh ones that nobody reads."""
    component = getattr(request, "getComponent", None)
    found = component(IOutcome) if component is not None else None
    return cast(Outcome, found) if found is not None else Outcome()
