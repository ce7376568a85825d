"""A Python shell inside the running server, over SSH.

It can do whatever the server can, so it is off unless configured, listens where only local users come (loopback, or a
unix socket of the server's own user), and takes public keys only. The file of keys is read at each login: a key that
is removed from it no longer lets in.
"""

import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.application.service import Service
from twisted.conch.checkers import IAuthorizedKeysDB, SSHPublicKeyChecker, readAuthorizedKeyFile
from twisted.conch.insults.insults import ServerProtocol
from twisted.conch.interfaces import IConchUser
from twisted.conch.manhole import ColoredManhole, ManholeInterpreter
from twisted.conch.manhole_ssh import ConchFactory, TerminalRealm, TerminalSession
from twisted.conch.recvline import RecvLine
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import SSHServerTransport
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from zope.interface import implementer

from cachew.config.endpoints import reach_of_shell
from cachew.server.shell import described

_ALGORITHMS = b"server-sig-algs"
_SIGNATURES = (
    b"ssh-ed25519", b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp384", b"ecdsa-sha2-nistp521",
    b"rsa-sha2-512", b"rsa-sha2-256", b"sk-ssh-ed25519@openssh.com", b"sk-ecdsa-sha2-nistp256@openssh.com",
)  # fmt: skip
"""How users may prove that a key is theirs; SHA-1 is not among them."""
_COLOURED = 300
"""Characters of the longest statement that is shown in colours: all of it is coloured anew with each one typed."""


@implementer(IAuthorizedKeysDB)
class AuthorizedKeys:
    """The public keys in a file of OpenSSH's form; they let in under any user name.

    :param file: the file.
    """

    log = Logger()

    def __init__(self, file: Path) -> None:
        self._file = file

    def getAuthorizedKeys(self, username: bytes) -> Iterable[Key]:
        """Return the keys that are in the file now."""
        try:
            with self._file.open("rb") as file:
                return list(readAuthorizedKeyFile(file))
        except OSError as error:
            self.log.error("manhole: the authorised keys can't be read: {error}", error=error)
            return []


class Help:
    """What ``help`` is in the shell; the built-in one would wait for the server's own terminal, and the server with it.

    :param names: what can be looked at.
    :param functions: what can be asked and done, in lines.
    """

    def __init__(self, names: Iterable[str], functions: str = "") -> None:
        self._names = ", ".join(sorted(names))
        self._functions = functions and f"{functions}\n"

    def __repr__(self) -> str:
        return (
            f"{self._functions}Here are: {self._names}.\nhelp(X) says what X is, dir(X) what it has. "
            "What a coroutine gives is printed when it is there: repositories()"
        )

    def __call__(self, *subjects: object) -> "Help | None":
        """Print what is said about each subject; return itself, to be shown, when there is none."""
        for subject in subjects:
            print(inspect.getdoc(subject))
        return None if subjects else self


class Interpreter(ManholeInterpreter):
    """Runs the coroutines that are typed in."""

    def displayhook(self, obj: object) -> None:
        """Show a value; of a coroutine, what it comes to."""
        super().displayhook(Deferred.fromCoroutine(obj) if inspect.iscoroutine(obj) else obj)


class ManholeShell(ColoredManhole):
    """A shell that somebody has opened."""

    log = Logger()

    def connectionMade(self) -> None:
        """Begin."""
        super().connectionMade()
        self.interpreter = Interpreter(self, self.namespace)
        self.log.info("manhole: a shell was opened")

    def characterReceived(self, ch: bytes, moreCharactersComing: bool) -> None:
        """Show a character, in colours unless the statement is very long or none of Python's."""
        if sum(map(len, self.interpreter.buffer)) + len(self.lineBuffer) >= _COLOURED:
            RecvLine.characterReceived(self, ch, moreCharactersComing)
            return
        try:
            super().characterReceived(ch, moreCharactersComing)
        except SyntaxError:
            self.terminal.write(ch)

    def connectionLost(self, reason: object) -> None:
        """End."""
        super().connectionLost(reason)
        self.log.info("manhole: a shell was closed")


class ShellSession(TerminalSession):
    """What a client may do with its terminal: also have none, resize it, and end its input."""

    height, width = 24, 80
    _server: ServerProtocol | None = None

    def openShell(self, proto: Any) -> None:
        """Begin a shell."""
        self._server = self.chainedProtocolFactory()
        self.transportFactory(proto, self._server, IConchUser(self.original), self.width, self.height)

    def windowChanged(self, newWindowSize: Any) -> None:
        """Draw for another size."""
        self.height, self.width = newWindowSize[:2]
        terminal: Any = self._server and self._server.terminalProtocol
        if terminal is not None:
            terminal.terminalSize(self.width, self.height)

    def eofReceived(self) -> None:
        """End the shell: nothing more will be typed."""
        if self._server is not None:
            self._server.loseConnection()


class Transport(SSHServerTransport):
    """Tells clients which keys may log in: by itself, conch names only the kinds of the server's own key."""

    def sendExtInfo(self, extensions: Sequence[tuple[bytes, bytes]]) -> None:
        """Send what the server can (RFC 8308)."""
        others = [(name, value) for name, value in extensions if name != _ALGORITHMS]
        super().sendExtInfo([*others, (_ALGORITHMS, b",".join(_SIGNATURES))])


class Manhole(Service):
    """Serves the shell while it runs.

    :param reactor: where it listens.
    :param listen: a loopback or unix endpoint.
    :param authorized_keys: file of the public keys that let in.
    :param host_key: file of the server's own key, made at the first start.
    :param namespace: what the shell's names stand for.
    """

    log = Logger()

    def __init__(
        self, *, reactor: Any, listen: str, authorized_keys: Path, host_key: Path, namespace: Mapping[str, object]
    ) -> None:
        if reason := reach_of_shell(listen):
            raise ValueError(f"the manhole's endpoint {reason}")
        self._reactor, self._listen = reactor, listen
        self._keys = AuthorizedKeys(authorized_keys)
        self._host_key = host_key
        self._namespace = {**namespace, "help": Help(namespace, described(namespace))}
        self._opening: Deferred[None] | None = None
        self._port: IListeningPort | None = None

    async def port(self) -> IListeningPort | None:
        """Return where it listens, once it does; None when it can't or is stopped."""
        if self._opening is not None:
            await self._opening
        return self._port

    def startService(self) -> None:
        """Listen; a failure to do so is logged and costs nothing but the shell."""
        super().startService()
        self._opening = Deferred.fromCoroutine(self._open())

    def stopService(self) -> Deferred[None]:
        """Listen no more; shells that are open end with the process."""
        super().stopService()
        return Deferred.fromCoroutine(self._close())

    async def _open(self) -> None:
        try:
            self._port = await serverFromString(self._reactor, self._listen).listen(self._factory())
        except Exception as error:
            # Endpoints are plugins and raise what they like.
            self.log.error("the manhole can't listen on {endpoint}: {error}", endpoint=self._listen, error=str(error))

    async def _close(self) -> None:
        port = await self.port()
        self._opening = self._port = None
        if port is not None:
            await maybeDeferred(port.stopListening)

    def _factory(self) -> Any:
        # Conch's own annotations of these attributes are narrower than what it takes.
        realm: Any = TerminalRealm()
        realm.sessionFactory = ShellSession
        realm.chainedProtocolFactory = lambda: ServerProtocol(ManholeShell, dict(self._namespace))
        factory: Any = ConchFactory(Portal(realm, [SSHPublicKeyChecker(self._keys)]))
        factory.noisy = False
        factory.protocol = Transport
        key = host_key(self._host_key)
        factory.publicKeys = {key.sshType(): key}
        factory.privateKeys = {key.sshType(): key}
        return factory


def host_key(path: Path) -> Key:
    """Read the server's key; make one, readable by nobody else, when there is none."""
    key: Key
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = Key.fromFile(str(path))
        return key
    key = Key(Ed25519PrivateKey.generate())
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.toString("OPENSSH"))
    return key
