"""``twistd cachew``: from the command line to a running service.

The outermost layer: the only one, beside the client command, that touches the global reactor, the environment and the
process itself. Whatever is wrong with the config is printed here, one problem a line, before anything starts.
"""

import atexit
import gc
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, cast

from prometheus_client import disable_created_metrics
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import ILogObserver, Logger
from twisted.python.usage import Options as UsageOptions

from cachew.config.contradictions import Problem
from cachew.config.document import schema
from cachew.config.files import file_problems
from cachew.config.load import ConfigErrors, load
from cachew.config.settings import Settings
from cachew.plumbing.clock import machine_clock
from cachew.plumbing.descriptors import raise_limit
from cachew.plumbing.errors import CachewError
from cachew.plumbing.logs import EventLog, drop_notice
from cachew.plumbing.resolver import Resolver
from cachew.server.environment import Environment
from cachew.server.listening import server_endpoint
from cachew.server.processlog import ProcessLog
from cachew.server.startchecks import start_problems
from cachew.version import version, written_over

_log = Logger()


class Options(UsageOptions):
    """What ``twistd cachew`` understands; the config is read, and refused, while they are parsed."""

    longdesc = "A git caching server. With no options it serves on 127.0.0.1:8080 with its state in ./state."
    optParameters: ClassVar = [
        ["config", "c", None, "Read the config from this TOML file."],
        ["state", None, None, "Directory of everything that outlives a restart, instead of the config's."],
    ]
    directory: Path
    settings: Settings
    log: EventLog

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []
        self["check"] = False
        try:
            self.directory = Path.cwd()
        except FileNotFoundError:
            raise SystemExit("cachew can't start: the current directory has been removed") from None

    def opt_listen(self, endpoint: str) -> None:
        """Serve on this Twisted endpoint, instead of the config's; may be given several times."""
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def opt_schema(self) -> None:
        """Print the documented default config and exit."""
        sys.stdout.write(schema())
        raise SystemExit(0)

    def opt_check(self) -> None:
        """Say what is wrong with the config and what it names, and exit: 0 when nothing is, otherwise 1."""
        self["check"] = True

    def opt_version(self) -> None:
        """Print cachew's version and exit."""
        print(f"cachew {version()}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Read the config.

        :raise SystemExit: with every problem, one a line.
        """
        if complaint := written_over():
            raise SystemExit(complaint)
        try:
            self.settings = _read_settings(self)
        except ConfigErrors as errors:
            raise SystemExit(str(errors)) from None
        if self["check"]:
            print(f"{_name_of(self)}: no mistakes")
            raise SystemExit(0)
        self.log = EventLog(self.settings.log_level)
        _choose_log_observer(self)


def makeService(options: Options) -> IService:
    """Return the whole server, for ``twistd`` to start.

    :raise SystemExit: with what is wrong, when there is no starting it.
    """
    # Hardly anything of what is imported and made here is garbage; looking for it meanwhile takes a tenth of a second.
    gc.disable()
    try:
        service = _made(options)
        # What is there now stays to the end. Looking through all of it takes a tenth of a second each time.
        gc.collect()
        gc.freeze()
    finally:
        gc.enable()
    return service


def _made(options: Options) -> IService:
    """Import the server, and put it together."""
    from twisted.internet import reactor

    from cachew.server.composition import make_service

    _prepare_process(options)
    descriptors = raise_limit()
    _log.info(
        "up to {limit} files and connections may be open (the soft limit was {before})",
        limit=descriptors.now,
        before=descriptors.before,
    )
    # Each counter's time of birth would be a series of its own.
    disable_created_metrics()
    # Twisted's timers follow the wall clock; a jump of a day would fire or freeze them all.
    cast(Any, reactor).seconds = time.monotonic
    cast(Any, reactor).installNameResolver(Resolver(reactor=reactor))
    environment = Environment(
        search_path=os.environ.get("PATH", os.defpath),
        home=os.environ.get("HOME", ""),
        cores=len(os.sched_getaffinity(0)),
        descriptors=descriptors.now,
        clock=machine_clock(),
        version=version(),
        log=options.log,
        log_dropped=_process_log.dropped,
        on_failed_start=_end_with_failure,
        read_settings=lambda: _read_settings(options),
        notify_socket=os.environ.get("NOTIFY_SOCKET", ""),
        watchdog_patience=_watchdog_patience(),
    )
    try:
        service = make_service(settings=options.settings, reactor=reactor, environment=environment)
    except (CachewError, OSError, subprocess.SubprocessError) as error:
        raise SystemExit(f"cachew can't start: {_in_words(error)}") from None
    cast(Any, reactor).callWhenRunning(_heed_signals, reactor, service)
    # Only then twistd has gone to the background, if it does, and threads last.
    cast(Any, reactor).callWhenRunning(_process_log.write_in_thread)
    atexit.register(_process_log.drain)
    return service


def _in_words(error: Exception) -> str:
    """Return what is wrong without the number that the system gives it."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _watchdog_patience() -> float:
    """Return the seconds after which systemd takes this process for dead, 0 for never (sd_watchdog_enabled(3))."""
    meant = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if meant and microseconds.isdecimal() else 0.0


def _end_with_failure() -> None:
    """Have the process end with status 1; ``twistd`` ends with 0 whatever made its reactor stop."""

    def end() -> None:
        _process_log.drain()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    atexit.register(end)


def _name_of(options: Options) -> str:
    """Return what messages call the config."""
    return str(options["config"] or "command line")


def _read_settings(options: Options) -> Settings:
    overrides: dict[str, Any] = {}
    if options["listen"]:
        overrides["listen"] = options["listen"]
    if options["state"] is not None:
        overrides["state"] = options["state"]
    settings = load(
        "" if options["config"] is None else _read_file(options),
        file=_name_of(options),
        environ=os.environ,
        overrides=overrides,
        check_endpoint=_check_endpoint,
        check_files=_all_problems if options["check"] else file_problems,
    )
    # twistd may change directory when it goes to the background.
    return settings.model_copy(update={"state": options.directory / settings.state})


def _read_file(options: "Options") -> str:
    try:
        return Path(options.directory, options["config"]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise ConfigErrors(_name_of(options), [Problem((), str(reason))]) from None


def _all_problems(settings: Settings) -> Iterator[Problem]:
    """Yield what is wrong with the files, and what else would keep the server from starting."""
    yield from file_problems(settings)
    yield from start_problems(settings, os.environ.get("PATH", os.defpath))


def _check_endpoint(description: str) -> None:
    from twisted.internet import reactor

    server_endpoint(reactor, description)


def _prepare_process(options: Options) -> None:
    """Keep what the process writes to itself: private files, and no core dumps, which would hold credentials."""
    if options.parent is None or options.parent.get("umask") is None:
        os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _heed_signals(reactor: Any, service: Any) -> None:
    """Take SIGTERM for a wish that was fulfilled; Twisted's own handler ends the process by that signal afterwards.

    SIGHUP, which would end it without a word, has it open its log anew, as those want who rotate logs, read its config
    again, and say how to get into the dashboard.
    """

    def stop(number: int, frame: object) -> None:
        reactor.callFromThread(_stop, reactor)

    def go_on(number: int, frame: object) -> None:
        reactor.callFromThread(_go_on, service)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, go_on)


def _go_on(service: Any) -> None:
    _process_log.reopen()
    _log.info("received SIGHUP and go on; the config is read again")
    Deferred.fromCoroutine(service.hang_up()).addErrback(lambda failure: _log.failure("SIGHUP", failure))


def _stop(reactor: Any) -> None:
    _log.info("received SIGTERM, shutting down")
    with suppress(ReactorNotRunning):
        reactor.stop()


_process_log = ProcessLog()
_openers: list[Callable[[], ILogObserver]] = []
"""What makes the log's observer; ``twistd`` takes a name that it imports, not a function."""


def chosen_observer() -> ILogObserver:
    """Return the observer that the config asks for; ``twistd`` calls this by name."""
    return _openers[-1]()


def _choose_log_observer(options: Options) -> None:
    """Have ``twistd`` log in our form, unless its own options ask for another."""
    parent = cast(Any, options.parent)
    if parent is None or parent.get("logger") or parent.get("syslog"):
        return
    form = options.settings.log_format
    name, foreground = parent.get("logfile"), bool(parent.get("nodaemon"))

    def opened() -> ILogObserver:
        notice = drop_notice(form, machine_clock())
        queue = _process_log.begin(name, foreground=foreground, output=sys.stdout, notice=notice)
        options.log.write_to(queue, form)
        return options.log

    _openers.append(opened)
    parent["logger"] = f"{__name__}.{chosen_observer.__name__}"
