"""The version of what is installed."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import cachew

DISTRIBUTION = "cachewd"
"""What this is called where it is installed from; ``cachew`` is another project there."""
_OURS = "A git caching server"


def version() -> str:
    """Return the installed distribution's version; ``0`` in a checkout that was never installed."""
    try:
        return installed_version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0"


def written_over(words: str | None = cachew.__doc__) -> str:
    """Return what is wrong when another distribution has put a package of the same name over this one, else nothing.

    :param words: what the package says of itself.
    """
    if (words or "").startswith(_OURS):
        return ""
    return (
        "another distribution has written its package cachew over this server's; make a fresh environment, or: "
        f"pip uninstall cachew && pip install --force-reinstall --no-deps {DISTRIBUTION}"
    )
