"""The file in which a server keeps what it knows of instances."""

from pathlib import Path
from typing import Any

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import InstanceState
from cachew.plumbing.errors import BadPath, UnknownPath
from cachew.plumbing.journal import Journal
from cachew.plumbing.threads import InThread


class InstanceJournal(Journal[InstanceState]):
    """The instances that are written down, by the repository's name: nobody is served by one that isn't.

    :param path: the file.
    :param in_thread: where it is read and written.
    """

    def __init__(self, *, path: Path, in_thread: InThread) -> None:
        super().__init__(
            path=path,
            in_thread=in_thread,
            read=_read,
            write=InstanceState.fields,
            lost="every repository begins a new instance",
            check_name=_check_name,
        )


def _read(fields: Any) -> InstanceState:
    state = InstanceState.read(fields)
    if state is None:
        raise ValueError("not what is known of an instance")
    return state


def _check_name(name: str) -> None:
    try:
        Identity.from_name(name)
    except (BadPath, UnknownPath) as error:
        raise ValueError(str(error)) from error
