"""What would keep a server from starting, found without starting it or changing anything."""

import os
from collections.abc import Iterator
from pathlib import Path

from cachew.config.cachetiers import DiskTier
from cachew.config.contradictions import Problem
from cachew.config.settings import Settings
from cachew.plumbing.errors import CachewError
from cachew.server.installedgit import installed_git
from cachew.server.listening import CertificateError, certificates_of
from cachew.server.stateformat import StateTooNew, check_format


def start_problems(settings: Settings, search_path: str) -> Iterator[Problem]:
    """Yield what is wrong with certificates, directories and the installed git.

    :param search_path: where git is looked for.
    """
    for index, description in enumerate(settings.listen):
        try:
            if (certificates := certificates_of(description)) is not None:
                certificates.load()
        except (CertificateError, ValueError) as error:
            yield Problem(("listen", index), str(error))
    yield from _directory(("state",), settings.state)
    try:
        check_format(settings.state)
    except StateTooNew as error:
        yield Problem(("state",), str(error))
    for index, tier in enumerate(settings.cache):
        if isinstance(tier, DiskTier) and tier.path is not None:
            yield from _directory(("cache", index, "path"), tier.path)
    try:
        installed_git(search_path)
    except CachewError as error:
        yield Problem((), str(error))


def _directory(where: tuple[str | int, ...], path: Path) -> Iterator[Problem]:
    """Yield why a directory can't be written to, or be made where it is to be."""
    path = path.absolute()
    there = next(one for one in (path, *path.parents) if os.path.lexists(one))
    if not there.is_dir():
        yield Problem(where, f'"{path}" can\'t be a directory: {there} is none')
    elif not os.access(there, os.W_OK | os.X_OK):
        verb = "written to" if there == path else f"made, since nobody may write to {there}"
        yield Problem(where, f'"{path}" can\'t be {verb} as this user')
