"""A mirror of which only the refs are looked at."""

from types import SimpleNamespace
from typing import Any

from cachew.mirrors.listings import summary_of
from cachew.upstream.listing import Listing


def mirror_of(listing: Listing | None) -> Any:
    """Return a mirror that was brought to a listing; None for none."""
    if listing is None:
        return None
    return SimpleNamespace(refs=SimpleNamespace(listing=listing, summary=summary_of(listing)))
