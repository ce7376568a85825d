"""Who else may read what is written to a repository that several users share (pure). See ``core.sharedRepository``."""

import re

_NAMED = {
    **dict.fromkeys(("group", "true", "yes", "on", "1", ""), 0o660),
    **dict.fromkeys(("all", "world", "everybody", "2"), 0o664),
}
_EXACT = re.compile(r"0?[0-7]{3,4}")


def shared_umask(setting: str, umask: int) -> int:
    """Return under which umask new files and directories get the permissions that git gives them.

    :param setting: of ``core.sharedRepository``: words let others do more, a number says exactly what they may.
    :param umask: the user's own.
    """
    if _EXACT.fullmatch(setting):
        return 0o777 & ~_with_search(int(setting, 8) & 0o666)
    return umask & ~_with_search(_NAMED.get(setting.lower(), 0))


def _with_search(permissions: int) -> int:
    """Let whoever may read a directory look for names in it."""
    return permissions | (permissions & 0o444) >> 2
