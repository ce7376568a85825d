"""Children run for real: sh, cat, sleep and head."""

import os
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from select import select
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from cachew.plumbing.child import Child, Command
from cachew.plumbing.childoutput import PIPE_SIZE
from cachew.plumbing.errors import Busy, ProcessFailed, ProcessTimedOut, TooLarge
from cachew.plumbing.process import Processes
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import PIECE, BytesSource, PushSource, Source, read_all
from tests.fakes.clock import FakeClock
from tests.fakes.descriptors import exhausted

pytestmark = pytest.mark.timeout(20)
ENV = {"PATH": os.environ["PATH"]}


def sh(script: str) -> Command:
    return Command(("sh", "-c", script), ENV)


@pytest_twisted.async_yield_fixture
async def processes() -> AsyncIterator[Processes]:
    """Processes that leave neither a child nor a descriptor behind."""
    processes = Processes(reactor=reactor, grace=0.2)
    before = len(os.listdir("/proc/self/fd"))
    yield processes
    await processes.stop()
    assert processes.running == 0
    assert len(os.listdir("/proc/self/fd")) == before


def paused(child: Child) -> Deferred[None]:
    """Fires when the child's output is not read any more because its reader is behind."""
    signal: Deferred[None] = Deferred()
    pipe = child.transport.pipes[1]
    stop = pipe.stopReading

    def stopped() -> None:
        stop()
        if not signal.called:
            signal.callback(None)

    pipe.stopReading = stopped
    return signal


async def line(source: Source) -> bytes:
    """Read the first line of a child's output, a byte at a time."""
    got = b""
    while not got.endswith(b"\n"):
        byte = await source.read(1)
        assert byte, got
        got += byte
    return got[:-1]


@pytest_twisted.ensureDeferred
async def test_run_collects(processes: Processes) -> None:
    """A run gives back the exit code, the output and the end of standard error."""
    done = await processes.run(sh("cat; echo warning >&2"), stdin=b"input", timeout=5)
    assert (done.code, done.signal, done.stdout, done.stderr) == (0, None, b"input", b"warning\n")
    assert processes.running == 0


@pytest_twisted.ensureDeferred
async def test_a_command_that_stands_back(processes: Processes) -> None:
    """A child, and what it starts, has the niceness that its command says."""
    go_on = PushSource()
    child = processes.start(Command(("sh", "-c", "read go; nice"), ENV, niceness=7), stdin=go_on)
    go_on.data(b"\n")
    go_on.finish()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert int(await read_all(child.stdout, 10)) == min(own + 7, 19)


@pytest_twisted.ensureDeferred
async def test_run_large_stdin_and_stdout(processes: Processes) -> None:
    """Input and output far beyond the pipes' size pass through whole."""
    data = os.urandom(5 * PIPE_SIZE)
    done = await processes.run(sh("cat"), stdin=data, timeout=10)
    assert done.stdout == data


@pytest_twisted.ensureDeferred
async def test_run_failure(processes: Processes) -> None:
    """A bad exit raises with the code and the last line of standard error, unless it is not checked."""
    with pytest.raises(ProcessFailed, match=r"sh failed \(exit 3\): broken") as caught:
        await processes.run(sh("echo first >&2; echo broken >&2; exit 3"), timeout=5)
    assert caught.value.code == 3
    done = await processes.run(sh("echo out; exit 3"), timeout=5, check=False)
    assert (done.code, done.stdout) == (3, b"out\n")
    done = await processes.run(sh("kill -9 $$"), timeout=5, check=False)
    assert (done.code, done.signal) == (None, 9)


@pytest_twisted.ensureDeferred
async def test_missing_program(processes: Processes) -> None:
    """A program that does not exist is a failed process and leaves nothing behind."""
    stdin = PushSource()
    with pytest.raises(ProcessFailed, match="no-such-program"):
        processes.start(Command(("no-such-program",), ENV), stdin=stdin)
    assert stdin.closed
    assert processes.running == 0


@pytest.mark.parametrize("command", [Command(("cat", "a\0b"), ENV), Command(("cat",), {"A": "a\0b"})])
@pytest_twisted.ensureDeferred
async def test_what_is_no_command_leaves_nothing(processes: Processes, command: Command) -> None:
    """What the system can't be told is an error of ours, and no child that is waited for at the end."""
    stdin = PushSource()
    with pytest.raises(ValueError, match="null byte"):
        processes.start(command, stdin=stdin)
    assert stdin.closed and processes.running == 0


@pytest_twisted.ensureDeferred
async def test_without_a_descriptor_left_trying_later_makes_sense(processes: Processes) -> None:
    """A child for whose pipes no descriptor is left is no failed program: it says busy, and leaves nothing behind."""
    for spare in range(4):
        free = [os.open(os.devnull, os.O_RDONLY) for _ in range(spare)]
        with exhausted(), pytest.raises(Busy, match="cat can't be started"):
            for descriptor in free:
                os.close(descriptor)
            processes.start(Command(("cat",), ENV), stdin=PushSource())
    assert processes.running == 0
    assert (await processes.run(sh("echo well"), timeout=5)).stdout == b"well\n"


@pytest_twisted.ensureDeferred
async def test_environment_is_exactly_what_is_given(processes: Processes) -> None:
    """The child sees the command's environment and nothing of the server's."""
    done = await processes.run(Command(("/usr/bin/env",), {"ONLY": "thïs"}), timeout=5)
    assert done.stdout.decode() == "ONLY=thïs\n"


@pytest_twisted.ensureDeferred
async def test_child_has_three_descriptors(processes: Processes) -> None:
    """The child inherits no descriptor but its standard ones."""
    extra = os.open(os.devnull, os.O_RDONLY)
    try:
        os.set_inheritable(extra, True)
        done = await processes.run(sh("ls /proc/$$/fd"), timeout=5)
    finally:
        os.close(extra)
    assert set(done.stdout.split()) <= {b"0", b"1", b"2", b"10"}


@pytest_twisted.ensureDeferred
async def test_timeout_terminates(processes: Processes) -> None:
    """A run over its time is ended and says so."""
    with pytest.raises(ProcessTimedOut):
        await processes.run(sh("exec sleep 60"), timeout=0.05)
    assert processes.running == 0


@pytest_twisted.ensureDeferred
async def test_what_does_nothing_is_given_up() -> None:
    """A child that was stopped is ended long before its time; one that works, or waits for others, is not."""
    processes = Processes(reactor=reactor, grace=0.2, stalled=0.1)
    with pytest.raises(ProcessTimedOut, match=r"it did nothing for 0\.1 seconds"):
        await processes.run(sh("kill -STOP $$"), timeout=600)
    with pytest.raises(ProcessTimedOut):
        await processes.run(sh("sleep 600 & kill -STOP 0"), timeout=600)
    busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done"
    assert (await processes.run(sh(busy), timeout=600)).stdout == b"done\n"
    assert (await processes.run(sh("sleep 0.3"), timeout=600, waits=True)).code == 0
    assert processes.running == 0


@pytest_twisted.ensureDeferred
async def test_what_has_no_room_any_more_is_given_up() -> None:
    """It is ended as if the disk were full, whatever it has said itself; what ends before that is looked at is not."""
    processes, room = Processes(reactor=reactor, grace=0.2, looks=0.02), [False, True]
    with pytest.raises(ProcessTimedOut, match="No space left on device"):
        await processes.run(sh("echo 99% >&2; exec sleep 60"), timeout=600, waits=True, room=room.pop)
    assert room == [] and processes.running == 0
    assert (await processes.run(sh("true"), timeout=600, waits=True, room=room.pop)).code == 0


@pytest_twisted.ensureDeferred
async def test_cancel_waits_for_the_exit(processes: Processes) -> None:
    """A cancelled run is over only when the child is."""
    running = Deferred.fromCoroutine(processes.run(sh("exec sleep 60"), timeout=60))
    assert processes.running == 1
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    assert processes.running == 0


@pytest_twisted.ensureDeferred
async def test_too_much_output(processes: Processes) -> None:
    """A child that writes without end is stopped at the limit."""
    with pytest.raises(TooLarge):
        await processes.run(sh("exec cat /dev/zero"), timeout=10, limit=3 * PIECE)
    assert processes.running == 0


@pytest_twisted.ensureDeferred
async def test_kill_after_grace(processes: Processes) -> None:
    """A child that ignores TERM is killed after the grace."""
    child = processes.start(sh("trap '' TERM; echo ready; exec sleep 60"))
    assert await line(child.stdout) == b"ready"
    child.terminate()
    done = await child.wait()
    assert done.signal == 9


@pytest_twisted.ensureDeferred
async def test_slow_reader_pauses_the_child(processes: Processes) -> None:
    """While nobody reads, no more than the buffer and the pipe are taken from the child; then all arrives."""
    total = 16 * PIPE_SIZE
    child = processes.start(sh(f"head -c {total} /dev/zero; echo written >&2"))
    await paused(child)
    assert child.stderr_tail == b""
    assert len(await read_all(child.stdout, total)) == total
    assert (await child.wait()).stderr == b"written\n"


@pytest_twisted.ensureDeferred
async def test_reader_that_leaves_ends_a_paused_child(processes: Processes) -> None:
    """Closing the output of a child that is stopped by back-pressure ends the child."""
    child = processes.start(sh("exec cat /dev/zero"))
    await paused(child)
    child.stdout.close()
    assert (await child.wait()).signal == 15
    assert await child.stdout.read(1) == b""


@pytest_twisted.ensureDeferred
async def test_failure_is_told_at_the_end_of_the_output(processes: Processes) -> None:
    """The reader of a child that fails half way gets the half and then the failure, not an end."""
    child = processes.start(sh("printf half; exit 4"))
    assert await child.stdout.read(100) == b"half"
    with pytest.raises(ProcessFailed, match="exit 4"):
        await child.stdout.read(100)


@pytest_twisted.ensureDeferred
async def test_terminated_output_is_never_complete(processes: Processes) -> None:
    """The reader of a child that is terminated gets a failure even when the child exits with 0."""
    child = processes.start(sh("trap 'exit 0' TERM; echo ready; while :; do read x </dev/zero || :; done"))
    assert await line(child.stdout) == b"ready"
    child.terminate()
    with pytest.raises(ProcessFailed):
        await child.stdout.read(1)


@pytest_twisted.ensureDeferred
async def test_stdin_has_back_pressure(processes: Processes) -> None:
    """The input of a child that does not read is not read either."""
    events: list[str] = []
    paused: Deferred[None] = Deferred()
    stdin = PushSource(
        pause=lambda: paused.callback(None), resume=lambda: events.append("resume"), stop=lambda: events.append("stop")
    )
    child = processes.start(sh("exec sleep 60"), stdin=stdin)
    for _ in range(8):
        stdin.data(bytes(PIECE))
    await paused
    assert events == []
    child.terminate()
    await child.wait()
    assert events == ["stop"]


@pytest_twisted.ensureDeferred
async def test_child_that_closes_its_input_early(processes: Processes) -> None:
    """A child that exits without reading its input is no failure, and the input is closed."""
    stopped: list[bool] = []
    stdin = PushSource(stop=lambda: stopped.append(True))
    stdin.data(bytes(4 * PIECE))
    child = processes.start(sh("head -c 3 | tr '\\0' x"), stdin=stdin)
    assert await read_all(child.stdout, 100) == b"xxx"
    assert stopped == [True]


@pytest_twisted.ensureDeferred
async def test_failing_input_ends_the_child(processes: Processes) -> None:
    """When the input breaks off, the child is ended and its reader gets the reason."""
    stdin = PushSource()
    child = processes.start(sh("cat; echo done"), stdin=stdin)
    stdin.data(b"part")
    assert await child.stdout.read(100) == b"part"
    stdin.fail(ConnectionError("the client left"))
    with pytest.raises(ConnectionError, match="the client left"):
        await child.stdout.read(100)


@pytest_twisted.ensureDeferred
async def test_streaming_input(processes: Processes) -> None:
    """Input that ends in time reaches the child whole."""
    child = processes.start(sh("cat"), stdin=BytesSource(b"a" * 3 * PIPE_SIZE))
    assert len(await read_all(child.stdout, 4 * PIPE_SIZE)) == 3 * PIPE_SIZE


@pytest_twisted.ensureDeferred
async def test_stderr_is_bounded(processes: Processes) -> None:
    """Only the last 64 KiB of standard error are kept."""
    done = await processes.run(sh("head -c 300000 /dev/zero >&2; echo last >&2"), timeout=5)
    assert len(done.stderr) == 64 * 1024
    assert done.stderr.endswith(b"last\n")


class Ends:
    """The ends of processes that are no children of this one.

    :param pids: theirs.
    """

    def __init__(self, *pids: int) -> None:
        self._files = [os.pidfd_open(pid) for pid in pids]

    def come(self) -> bool:
        """Wait for all of them, for a while."""
        try:
            return all(select([file], [], [], 5)[0] for file in self._files)
        finally:
            for file in self._files:
                os.close(file)


def wait_until_stopped(pid: int) -> None:
    """Wait until a signal has stopped a child."""
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)


@pytest_twisted.ensureDeferred
async def test_every_child_leads_a_session(processes: Processes) -> None:
    """Each child has a session and a group of its own, so that signals reach what it starts and nothing else."""
    child = processes.start(sh("echo started; read forever"), stdin=PushSource())
    assert await line(child.stdout) == b"started"
    assert child.pid is not None
    assert os.getpgid(child.pid) == os.getsid(child.pid) == child.pid
    child.terminate()
    await child.wait()


@pytest_twisted.ensureDeferred
async def test_children_inherit_no_descriptors(processes: Processes, tmp_path: Path) -> None:
    """A child has its three streams and nothing that this process has open."""
    with (tmp_path / "open").open("w"):
        done = await processes.run(sh("ls /proc/self/fd | wc -l"), timeout=10)
    assert int(done.stdout) <= 4  # one more is that of ls itself


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("how", ["trap '' TERM; exec sleep 60", "kill -STOP $$; sleep 60", "exec sleep 60"])
async def test_all_that_a_child_has_started_ends_with_it(processes: Processes, how: str) -> None:
    """Ending a child ends what it has started, also what ignores TERM or has been stopped."""
    child = processes.start(sh(f"sh -c {shlex.quote(how)} & echo $!; wait"))
    ends = Ends(int(await line(child.stdout)))
    child.stdout.close()
    await child.wait()
    assert ends.come(), "it was left running"


@pytest_twisted.ensureDeferred
async def test_a_child_that_is_stopped_is_ended_with_all_it_has_started(processes: Processes) -> None:
    """A child that a signal has stopped can end nothing itself; it is killed, and its children with it."""
    child = processes.start(sh("sleep 60 & echo $!; kill -STOP $$"))
    ends = Ends(int(await line(child.stdout)))
    assert child.pid is not None
    wait_until_stopped(child.pid)
    child.terminate()
    assert (await child.wait()).signal == 9
    assert ends.come(), "it was left running"


@pytest_twisted.ensureDeferred
async def test_a_child_that_dies_takes_along_what_it_has_started(processes: Processes) -> None:
    """What a killed child has started is ended too, so that nothing goes on writing for nobody."""
    child = processes.start(sh("sleep 60 & echo $!; kill -KILL $$"))
    ends = Ends(int(await line(child.stdout)))
    with pytest.raises(ProcessFailed):
        await read_all(child.stdout, 10)
    assert ends.come(), "it was left running"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "script", ["exec sleep 60", "echo a pack; sleep 60 & wait", "while sleep 0.02; do printf 00051; done"]
)
@pytest.mark.parametrize("diverted", [True, False])
async def test_a_child_that_gives_nothing_is_given_up(
    processes: Processes, tmp_path: Path, script: str, diverted: bool
) -> None:
    """Whoever waits for a child's output waits no longer than it may be silent; keep-alives are silence."""
    child = processes.start(sh(script), silence=0.3)
    spool = Spool(path=tmp_path / "spool")
    if diverted:
        spool.write(child.output.divert(spool.take))
    with pytest.raises(ProcessTimedOut, match=r"gave nothing for 0.3 seconds"):
        while await child.stdout.read(PIECE):
            pass
    assert processes.running == 0
    spool.finish()
    spool.discard()


@pytest_twisted.ensureDeferred
async def test_a_child_whose_reader_is_slow_is_not_silent(tmp_path: Path) -> None:
    """Time counts only while a child's output is waited for: not while its reader is behind."""

    class Timed:
        """The reactor, with a clock of its own."""

        def __init__(self) -> None:
            self.clock = FakeClock()
            self.callLater = self.clock.callLater

        def __getattr__(self, name: str) -> Any:
            return getattr(reactor, name)

    timed = Timed()
    processes = Processes(reactor=timed)
    child = processes.start(sh("head -c 8000000 /dev/zero"), silence=10)
    await paused(child)
    timed.clock.advance(1000)
    assert len(await read_all(child.stdout, 8_000_000)) == 8_000_000
    assert timed.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_survivor_does_not_hold_up_the_end(processes: Processes) -> None:
    """A grandchild that keeps the pipes open delays the end of a timed out child by the grace only."""
    with pytest.raises(ProcessTimedOut):
        await processes.run(sh("sleep 3 & exit 0"), timeout=0.05)
    assert processes.running == 0


@pytest_twisted.ensureDeferred
async def test_survivor_that_does_not_read(processes: Processes) -> None:
    """Input that nobody will ever read does not delay the end either."""
    with pytest.raises(ProcessTimedOut):
        await processes.run(sh("exec 3<&0; sleep 3 >/dev/null 2>&1 & exit 0"), stdin=bytes(PIPE_SIZE), timeout=0.05)
    assert processes.running == 0


@pytest_twisted.ensureDeferred
async def test_stop_ends_everything() -> None:
    """After a stop nothing runs and nothing can be started."""
    processes = Processes(reactor=reactor, grace=0.2)
    children = [processes.start(sh("exec sleep 60")) for _ in range(3)]
    await processes.stop()
    assert processes.running == 0
    assert all(child.completed is not None for child in children)
    with pytest.raises(Busy):
        processes.start(sh("exit 0"))


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (("git", "-C", "/m", "-c", "a=b", "--no-pager", "fetch", "secret"), "git fetch"),
        (("/usr/lib/git-core/git-http-backend",), "git-http-backend"),
        (("tar", "-C", "/x"), "tar"),
    ],
)
def test_name_of_a_command(argv: tuple[str, ...], name: str) -> None:
    """A command's name tells the program and git's subcommand, and no argument."""
    assert Command(argv, {}).name == name


@pytest_twisted.ensureDeferred
async def test_diverted(processes: Processes, tmp_path: Path) -> None:
    """Output goes from the pipe into a spool, all of it and in order, whatever of it had been read before."""
    data = os.urandom(5 * PIPE_SIZE)
    child = processes.start(sh("echo first; cat"), stdin=BytesSource(data))
    assert await line(child.stdout) == b"first"
    spool = Spool(path=tmp_path / "spool")
    following = Deferred.fromCoroutine(read_all(spool.follow(), 2 * len(data)))
    spool.write(child.output.divert(spool.take))
    assert await child.stdout.read(PIECE) == b""
    spool.finish()
    assert await following == data
    spool.discard()


@pytest_twisted.ensureDeferred
async def test_diverted_after_a_pause(processes: Processes, tmp_path: Path) -> None:
    """A child that was held up because nobody read goes on when its output is diverted."""
    child = processes.start(sh(f"head -c {8 * PIPE_SIZE} /dev/zero"))
    await paused(child)
    spool = Spool(path=tmp_path / "spool")
    spool.write(child.output.divert(spool.take))
    assert await child.stdout.read(PIECE) == b""
    assert spool.size == 8 * PIPE_SIZE
    spool.finish()
    spool.discard()


@pytest_twisted.ensureDeferred
async def test_diverted_and_then_silent(processes: Processes, tmp_path: Path) -> None:
    """Followers get what a child has written, be it little or much, though it goes on to write nothing."""
    for count in (1, PIPE_SIZE // 3, PIPE_SIZE):
        stdin = PushSource()
        child = processes.start(sh(f"head -c {count} /dev/zero; exec cat"), stdin=stdin)
        spool = Spool(path=tmp_path / "spool")
        follower = spool.follow()
        spool.write(child.output.divert(spool.take))
        come = 0
        while come < count:
            come += len(await follower.read(count))
        stdin.finish()
        assert await child.stdout.read(PIECE) == b""
        spool.finish()
        spool.discard()
        follower.close()


@pytest_twisted.ensureDeferred
async def test_diverted_into_a_full_disk(processes: Processes) -> None:
    """When what takes the output fails, the child is ended and the reader is told why."""
    full = os.open("/dev/full", os.O_WRONLY)

    def take(pipe: int) -> int:
        return os.write(full, os.read(pipe, PIECE))

    child = processes.start(sh("exec cat /dev/zero"))
    child.output.divert(take)
    with pytest.raises(OSError, match="No space left"):
        await child.stdout.read(PIECE)
    assert (await child.wait()).signal is not None
    os.close(full)


@pytest_twisted.ensureDeferred
async def test_diverted_and_failing(processes: Processes, tmp_path: Path) -> None:
    """A child that fails after its output was diverted fails its reader."""
    spool = Spool(path=tmp_path / "spool")
    child = processes.start(sh("echo something; exit 3"))
    spool.write(child.output.divert(spool.take))
    with pytest.raises(ProcessFailed, match="exit 3"):
        await child.stdout.read(PIECE)
    assert spool.size == len("something\n")
    spool.finish()
    spool.discard()
