"""``twistd cachew`` says what is wrong, or starts what is asked for."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import ILogObserver, Logger
from twisted.python.reflect import namedAny

from cachew.config.document import schema
from cachew.config.load import load
from cachew.server.processlog import KEPT_LOGS, LOG_SIZE, ProcessLog
from cachew.tap import Options
from cachew.version import version

PROJECT = Path(__file__).parents[1]


def parsed(*arguments: str, **twistd: Any) -> Any:
    options: Any = Options()
    options.parent = twistd
    options.parseOptions(list(arguments))
    return options


def test_no_options_give_the_defaults() -> None:
    """With nothing said, it serves on loopback with its state below the current directory."""
    settings = parsed().settings
    assert settings.listen == ("tcp:8080:interface=127.0.0.1",)
    assert settings.state == Path("state").absolute()


def test_options_win_over_the_config(tmp_path: Path) -> None:
    """``--listen`` and ``--state`` replace what the file says."""
    config = tmp_path / "cachew.toml"
    config.write_text('state = "/a"\nlisten = ["tcp:1"]\nlog-level = "debug"')
    options = parsed("--config", str(config), "--listen", "tcp:2", "--listen", "tcp:3", "--state", "/b")
    assert (options.settings.listen, options.settings.state) == (("tcp:2", "tcp:3"), Path("/b"))
    assert options.log.level == "debug"


def test_every_problem_is_one_line(tmp_path: Path) -> None:
    """A wrong config ends the program with one line of text per problem."""
    config = tmp_path / "cachew.toml"
    config.write_text('colour = "red"\nlisten = ["tcp:x"]\nstate = 5')
    with pytest.raises(SystemExit) as ended:
        parsed("--config", str(config))
    lines = str(ended.value.code).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{config}: ") for line in lines)


@pytest.mark.parametrize("description", ["tcp:x", "carrier-pigeon:1", "", "tcp"])
def test_malformed_endpoints_are_problems(description: str) -> None:
    """An endpoint that Twisted can't parse is refused before anything starts."""
    with pytest.raises(SystemExit) as ended:
        parsed("--listen", description)
    assert "command line: listen[0]: " in str(ended.value.code)


def test_a_missing_config_file_is_said(tmp_path: Path) -> None:
    """A file that can't be read is named with the reason."""
    with pytest.raises(SystemExit) as ended:
        parsed("--config", str(tmp_path / "none.toml"))
    assert ended.value.code == f"{tmp_path / 'none.toml'}: No such file or directory"


def test_logs_in_its_own_form_unless_twistd_is_told_otherwise() -> None:
    """The log's observer is ours in the foreground, and left alone when twistd's options choose one."""
    assert ILogObserver.providedBy(namedAny(parsed(nodaemon=True).parent["logger"])())
    assert parsed(logger="mine").parent["logger"] == "mine"
    assert "logger" not in parsed(syslog=True).parent


def test_logs_to_a_file_in_the_background(tmp_path: Path) -> None:
    """A log file that twistd is given is the one that is written."""
    options = parsed(logfile=str(tmp_path / "log"))
    namedAny(options.parent["logger"])()
    assert (tmp_path / "log").exists()


def test_old_log_files_do_not_pile_up(tmp_path: Path) -> None:
    """A log file that has grown large is set aside, and the oldest of those goes."""
    for number in range(1, KEPT_LOGS + 1):
        (tmp_path / f"log.{number}").write_text(str(number))
    with (tmp_path / "log").open("wb") as file:
        file.truncate(LOG_SIZE)
    observer = namedAny(parsed(logfile=str(tmp_path / "log")).parent["logger"])()
    Logger(observer=observer).info("one line")
    assert (tmp_path / "log").stat().st_size < 1000
    assert (tmp_path / "log.2").read_text() == "1"
    assert len(list(tmp_path.iterdir())) == 1 + KEPT_LOGS


def test_an_output_that_is_closed_takes_no_log() -> None:
    """A server that was started with its output closed runs, and its lines go nowhere."""
    log = ProcessLog()
    log.begin(None, foreground=True, output=None, notice=str).write("line\n")
    log.drain()
    assert log.dropped() == 0


def test_a_current_directory_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths can't be looked for in a directory that has been removed, and the text says so."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SystemExit, match="the current directory has been removed"):
        Options()


def twistd(*arguments: str, directory: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "cachew", *arguments]
    return subprocess.run(
        command,
        cwd=directory,
        env={"PYTHONPATH": str(PROJECT), **environ},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_twistd_prints_the_schema(tmp_path: Path) -> None:
    """``twistd cachew --schema`` prints a config that reads as the defaults, and ends well."""
    result = twistd("--schema", directory=tmp_path)
    assert (result.returncode, result.stdout) == (0, schema())
    assert load(result.stdout, environ={}) == load("", environ={})


def test_twistd_prints_the_version(tmp_path: Path) -> None:
    """``twistd cachew --version`` prints cachew's version."""
    assert twistd("--version", directory=tmp_path).stdout == f"cachew {version()}\n"


def test_twistd_shows_problems_without_a_traceback(tmp_path: Path) -> None:
    """A wrong config is told in plain text with status 1, and nothing is left behind."""
    (tmp_path / "c.toml").write_text("[git]\nfetch_wait = '1s'\nqueue-limit = 0")
    result = twistd("--config", "c.toml", directory=tmp_path)
    assert result.returncode == 1
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == ["git.queue-limit", "git.fetch_wait"]
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"]


def test_a_config_is_checked_without_starting_anything(tmp_path: Path) -> None:
    """``--check`` tells every mistake with status 1, those of the start included, and of a right config status 0."""
    (tmp_path / "c.toml").write_text('state = "s"\n[git]\nrepack-interval = "1h"')
    good = twistd("--config", "c.toml", "--check", directory=tmp_path, PATH=os.environ["PATH"], CACHEW_LOG_LEVEL="warn")
    assert (good.returncode, good.stdout, good.stderr) == (0, "c.toml: no mistakes\n", "")
    (tmp_path / "c.toml").write_text(
        'state = "c.toml/s"\nlisten = ["tls:0:certificate=none.pem"]\n[admin]\ntoken-file = "none"'
    )
    bad = twistd("--config", "c.toml", "--check", directory=tmp_path, PATH="/none", CACHEW_GIT_QUEUE_LIMIT="0")
    assert (bad.returncode, bad.stderr.splitlines()) == (
        1,
        [
            "CACHEW_GIT_QUEUE_LIMIT: git.queue-limit: must be at least 1",
            'c.toml: admin.token-file: "none" can\'t be read: No such file or directory',
            "c.toml: listen[0]: none.pem: No such file or directory",
            f'c.toml: state: "{tmp_path}/c.toml/s" can\'t be a directory: {tmp_path}/c.toml is none',
            "c.toml: git is not installed, or not in any directory of PATH (/none)",
        ],
    )
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ('[admin]\ntoken-file = "none"', 'admin.token-file: "none" can\'t be read: No such file or directory'),
        ('state = "c.toml/state"', "/c.toml/state: Not a directory"),
        ('listen = ["tls:0:certificate=none.pem"]', "none.pem: No such file or directory"),
        (
            'listen = ["unix:no/such/directory"]',
            "the server can't start: nobody can listen on unix:no/such/directory: ",
        ),
    ],
)
def test_twistd_says_why_it_can_not_start(tmp_path: Path, config: str, reason: str) -> None:
    """What keeps the server from starting is told in plain text, with status 1."""
    (tmp_path / "c.toml").write_text(config)
    result = twistd("--config", "c.toml", directory=tmp_path)
    text = result.stdout + result.stderr
    assert (result.returncode, reason in text, "Traceback" in text) == (1, True, False), text


def test_twistd_says_that_git_is_missing(tmp_path: Path) -> None:
    """Without git there is no server, and the text says what to install rather than a number."""
    result = twistd("--state", "state", "--listen", "tcp:0:interface=127.0.0.1", directory=tmp_path, PATH="/none")
    assert (result.returncode, result.stderr) == (
        1, "cachew can't start: git is not installed, or not in any directory of PATH (/none)\n"
    )  # fmt: skip


def test_what_is_there_from_the_start_is_not_looked_through_for_garbage(tmp_path: Path) -> None:
    """That stops everybody for a tenth of a second each time, and there is nothing to be found."""
    program = f"""
import gc
from cachew.tap import Options, makeService
options = Options()
options.parseOptions(["--state", {str(tmp_path)!r}])
service = makeService(options)
print(gc.get_freeze_count(), len(gc.get_objects()))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    frozen, left = map(int, run.stdout.split())
    assert frozen > 50_000 > left
