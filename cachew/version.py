"""The version of what is installed."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version


def version() -> str:
    """Return the installed distribution's version; ``0`` in a checkout that was never installed."""
    try:
        return installed_version("cachew")
    except PackageNotFoundError:
        return "0"
