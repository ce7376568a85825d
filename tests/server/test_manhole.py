"""The shell inside the server: for those with a key, and nobody else."""

import os
import stat
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.error import ConchError
from twisted.conch.insults.insults import ServerProtocol
from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.connection import SSHConnection
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.session import packRequest_pty_req
from twisted.conch.ssh.transport import SSHClientTransport
from twisted.conch.ssh.userauth import SSHUserAuthClient
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure

from cachew.server.manhole import Manhole, ManholeShell, host_key
from tests.functional.gitclient import Run


class Shell(SSHChannel):
    """Types one line into a shell and waits for what it prints."""

    name = b"session"

    def __init__(self, line: bytes, awaited: bytes, result: Deferred[bytes]) -> None:
        super().__init__()
        self.line, self.awaited, self.result, self.seen = line, awaited, result, b""

    def channelOpen(self, specificData: bytes) -> None:
        connection: Any = self.conn
        connection.sendRequest(self, b"pty-req", packRequest_pty_req(b"xterm", (24, 80, 0, 0), b""))
        connection.sendRequest(self, b"shell", b"")
        self.write(self.line + b"\r")

    def dataReceived(self, data: bytes) -> None:
        self.seen += data
        if self.awaited in self.seen and not self.result.called:
            self.result.callback(self.seen)


class Pipe(Shell):
    """Types one line into a shell without a terminal, is resized nevertheless, and waits for the end."""

    def channelOpen(self, specificData: bytes) -> None:
        connection: Any = self.conn
        connection.sendRequest(self, b"shell", b"")
        connection.sendRequest(self, b"window-change", struct.pack(">4L", 100, 50, 0, 0))
        self.write(self.line + b"\r")
        connection.sendEOF(self)

    def dataReceived(self, data: bytes) -> None:
        self.seen += data

    def closed(self) -> None:
        self.result.callback(self.seen)


class Connection(SSHConnection):
    """Opens a shell as soon as it is let in."""

    def __init__(self, shell: Shell) -> None:
        super().__init__()
        self.shell = shell

    def serviceStarted(self) -> None:
        super().serviceStarted()
        self.openChannel(self.shell)


class Login(SSHUserAuthClient):
    """Logs in with one key, or with a password when it has none."""

    def __init__(self, key: Key | None, instance: SSHConnection) -> None:
        super().__init__(b"anyone", instance)
        self.key: Any = key

    def getPublicKey(self) -> Any:
        key, self.key, self.private = self.key, None, self.key
        return key.public() if key is not None else None

    def getPrivateKey(self) -> Any:
        return succeed(self.private)

    def getPassword(self, prompt: bytes | None = None) -> Any:
        return succeed(b"password")


class Client(SSHClientTransport):
    """An SSH client for a shell."""

    def __init__(self, key: Key | None, shell: Shell) -> None:
        self.key, self.shell = key, shell
        self.gone: Deferred[None] = Deferred()

    def verifyHostKey(self, hostKey: bytes, fingerprint: bytes) -> Any:
        return succeed(True)

    def connectionSecure(self) -> None:
        self.requestService(Login(self.key, Connection(self.shell)))

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        self.refused(ConchError(description))

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self.refused(ConchError("connection lost"))
        self.gone.callback(None)

    def refused(self, error: ConchError) -> None:
        if not self.shell.result.called:
            self.shell.result.errback(Failure(error))


def new_key() -> Key:
    return Key(Ed25519PrivateKey.generate())


def manhole(directory: Path, listen: str, *keys: Key) -> Manhole:
    from twisted.internet import reactor

    file = directory / "authorized_keys"
    file.write_bytes(b"# who may\n\n" + b"\n".join(key.public().toString("OPENSSH") for key in keys) + b"\n")
    return Manhole(
        reactor=reactor,
        listen=listen,
        authorized_keys=file,
        host_key=directory / "host_key",
        namespace={"answer": 40, "later": later},
    )


async def later() -> int:
    """Say what it is later."""
    from twisted.internet import reactor

    waited: Deferred[int] = Deferred()
    clock: Any = reactor
    clock.callLater(0, waited.callback, 4200)
    return await waited


async def type_into(
    service: Manhole, client: str, key: Key | None, line: bytes, awaited: bytes, shell: type[Shell] = Shell
) -> bytes:
    """Start a manhole, log in, type a line, and stop it again."""
    from twisted.internet import reactor

    service.startService()
    try:
        port: Any = await service.port()
        endpoint = clientFromString(reactor, client.format(port=getattr(port.getHost(), "port", None)))
        protocol = Client(key, shell(line, awaited, Deferred()))
        await endpoint.connect(Factory.forProtocol(lambda: protocol))
        try:
            return await protocol.shell.result
        finally:
            protocol.loseConnection()
            await protocol.gone
    finally:
        await service.stopService()


@pytest.mark.parametrize("way", ["tcp", "unix"])
@pytest.mark.timeout(20)
@pytest_twisted.ensureDeferred
async def test_a_key_opens_a_shell_inside_the_server(way: str, tmp_path: Path) -> None:
    """An authorised key gets a Python shell with the namespace's names, over TCP or a unix socket."""
    key = new_key()
    path = tmp_path / "socket"
    listen = "tcp:0:interface=127.0.0.1" if way == "tcp" else f"unix:{path}:mode=600"
    client = "tcp:127.0.0.1:{port}" if way == "tcp" else f"unix:{path}"
    service = manhole(tmp_path, listen, new_key(), key)
    assert b"4200" in await type_into(service, client, key, b"answer * 105", b"4200")


@pytest.mark.parametrize(
    ("line", "awaited"),
    [
        (b"later()", b"called back: 4200"),
        (b"help", b"Here are: answer, later."),
        (b"help()", b"Here are: answer, later."),
        (b"help(later)", b"Say what it is later."),
    ],
)
@pytest.mark.timeout(20)
@pytest_twisted.ensureDeferred
async def test_a_shell_is_of_use(line: bytes, awaited: bytes, tmp_path: Path) -> None:
    """A coroutine that is typed in runs and its result is shown; help says what there is, and holds nothing up."""
    key = new_key()
    service = manhole(tmp_path, "tcp:0:interface=127.0.0.1", key)
    assert awaited in await type_into(service, "tcp:127.0.0.1:{port}", key, line, awaited)


@pytest.mark.timeout(20)
@pytest_twisted.ensureDeferred
async def test_a_script_may_use_the_shell(tmp_path: Path) -> None:
    """What is piped in without a terminal is answered, and the end of the input ends the shell, without complaints."""
    key = new_key()
    service = manhole(tmp_path, "tcp:0:interface=127.0.0.1", key)
    assert b"4200" in await type_into(service, "tcp:127.0.0.1:{port}", key, b"answer * 105", b"", Pipe)


@pytest.mark.parametrize("with_key", [True, False])
@pytest.mark.timeout(20)
@pytest_twisted.ensureDeferred
async def test_others_are_refused(with_key: bool, tmp_path: Path) -> None:
    """Another key, or a password, opens nothing."""
    service = manhole(tmp_path, "tcp:0:interface=127.0.0.1", new_key())
    with pytest.raises(ConchError):
        await type_into(service, "tcp:127.0.0.1:{port}", new_key() if with_key else None, b"1", b"1")


@pytest.mark.timeout(20)
@pytest_twisted.ensureDeferred
async def test_a_removed_key_opens_nothing_any_more(tmp_path: Path) -> None:
    """The file of keys is read at each login; without it nobody gets in."""
    key = new_key()
    service = manhole(tmp_path, "tcp:0:interface=127.0.0.1", key)
    (tmp_path / "authorized_keys").unlink()
    with pytest.raises(ConchError):
        await type_into(service, "tcp:127.0.0.1:{port}", key, b"1", b"1")


def _make_key(file: Path, kind: str) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(file)], check=True)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
@pytest.mark.timeout(40)
@pytest_twisted.ensureDeferred
async def test_openssh_logs_in_with_keys_of_every_usual_kind(kind: str, tmp_path: Path) -> None:
    """OpenSSH's client gets in with an RSA, an ECDSA or an Ed25519 key as ssh-keygen makes them, and with no other."""
    from twisted.internet import reactor

    file = tmp_path / "id"
    _make_key(file, kind)
    service = manhole(tmp_path, "tcp:0:interface=127.0.0.1", Key.fromFile(str(file)))
    service.startService()
    port: Any = await service.port()
    words = ["ssh", "-F", "none", "-T", "-i", str(file), "-p", str(port.getHost().port), "-o", "IdentitiesOnly=yes"]
    words += ["-o", f"UserKnownHostsFile={tmp_path / 'hosts'}", "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"]
    run = Run(b"answer * 105\n")
    clock: Any = reactor
    clock.spawnProcess(run, "setsid", ["setsid", *words, "me@127.0.0.1"], env={"PATH": os.environ["PATH"]}, path=None)
    try:
        result = await run.done
    finally:
        await service.stopService()
    assert "4200" in result.out, result.err


def test_the_host_key_is_made_once_and_private(tmp_path: Path) -> None:
    """The server's key stays the same between starts and is readable by nobody else."""
    path = tmp_path / "host_key"
    assert host_key(path) == host_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.timeout(20)
@pytest_twisted.ensureDeferred
async def test_an_endpoint_that_can_not_be_had_costs_only_the_shell(tmp_path: Path) -> None:
    """When it can't listen that is logged in a line, and the service stops like any other."""
    service = manhole(tmp_path, f"unix:{tmp_path / 'none' / 'socket'}:mode=600", new_key())
    with capturedLogs() as events:
        service.startService()
        assert await service.port() is None
        await service.stopService()
    (said,) = [str(formatEvent(event)) for event in events if event["log_level"] is LogLevel.error]
    assert said.startswith(f"the manhole can't listen on unix:{tmp_path}") and "No such file or directory" in said


def test_refuses_to_listen_to_the_world(tmp_path: Path) -> None:
    """An endpoint that others can reach is refused when the service is made."""
    with pytest.raises(ValueError, match="must be a loopback address"):
        manhole(tmp_path, "tcp:0", new_key())


def test_a_long_statement_that_is_pasted_costs_what_it_is_long() -> None:
    """Coloured anew with each character it would stop the server for minutes."""
    terminal = StringTransport()
    shell = ServerProtocol(ManholeShell, {})
    shell.makeConnection(terminal)
    shell.dataReceived(b"1" + b"+1" * 1000 + b"\r")
    assert b"1001" in terminal.value()
    assert len(terminal.value()) < 1_000_000


@pytest.mark.parametrize("line", [b"if 1:\r        a\r    b", b"# coding: nonsense\r1"])
def test_what_is_no_python_ends_no_shell(line: bytes) -> None:
    """It is shown as it was typed, and what comes after it is run."""
    terminal = StringTransport()
    shell = ServerProtocol(ManholeShell, {})
    shell.makeConnection(terminal)
    shell.dataReceived(line + b"\r\r6 * 7\r")
    assert b"42" in terminal.value()
