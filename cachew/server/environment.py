"""What the process finds around it, gathered in one place by the outermost layer and handed inward."""

from collections.abc import Callable
from dataclasses import dataclass

from cachew.config.settings import Settings
from cachew.plumbing.clock import Clock
from cachew.plumbing.logs import EventLog


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Facts about the machine and the process.

    :param search_path: ``PATH``, for finding git and tar.
    :param home: ``HOME``, for credential commands; empty when there is none.
    :param cores: processors that this process may use.
    :param descriptors: how many files and connections may be open at once.
    :param clock: what time it is; its monotonic seconds are the reactor's.
    :param version: cachew's version.
    :param log: the log of this process.
    :param log_dropped: how many lines of the log were dropped.
    :param read_settings: reads the config again, None where there is none to be read.
    :param notify_socket: where systemd wants to be told how the server is, empty when it does not.
    :param watchdog_patience: seconds after which systemd takes the server for dead; 0 when it does not say.
    :param on_failed_start: told when the server can't start, so that the process ends accordingly.
    """

    search_path: str
    cores: int
    descriptors: int
    clock: Clock
    version: str
    log: EventLog
    log_dropped: Callable[[], int] = lambda: 0
    on_failed_start: Callable[[], object] = lambda: None
    read_settings: Callable[[], Settings] | None = None
    home: str = ""
    notify_socket: str = ""
    watchdog_patience: float = 0.0
