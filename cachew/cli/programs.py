"""Finds programs as a shell does, without the library that also knows every kind of archive."""

import os


def find_program(*names: str) -> "str | None":
    """Return the path of the first of some programs that is on the PATH, None when none is."""
    places = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = (os.path.join(place, name) for name in names for place in places)
    return next((path for path in found if os.path.isfile(path) and os.access(path, os.X_OK)), None)
