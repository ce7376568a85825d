"""What a stranger may take of the server before anything is known about him: sizes, times, connections.

Every bound of the HTTP front is a field here, so that the config names them once and tests can make them small.
"""

from dataclasses import dataclass

KIB = 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds of the HTTP front; sizes in bytes, times in seconds.

    :param line: the longest request line or header line.
    :param head: the longest request line and headers together.
    :param headers: the most header lines.
    :param head_timeout: how long a request's head may take from the connection or from its first byte.
    :param idle_timeout: how long a kept-alive connection may stay silent between requests, as told to clients.
    :param idle_grace: how much longer than told it is really kept, so that a client's next request is not raced.
    :param body_timeout: the time in which ``body_minimum`` bytes of a body that is waited for must come.
    :param body_minimum: the bytes that must come in that time.
    :param body_buffer: how much of a body is held for a slow reader before its socket is left unread.
    :param write_timeout: how long a client may take nothing at all of a response before it is dropped.
    :param drain: how much of a body that nobody wants is read and dropped to keep the connection.
    :param linger: how much is read and dropped on a connection that closes, so that the answer is seen.
    :param linger_timeout: how long such a connection is kept for that.
    :param pipelined: how much of later requests is held while one is answered.
    :param connections: the most connections at once.
    :param connections_per_address: the most connections at once from one address.
    """

    line: int = 16 * KIB
    head: int = 64 * KIB
    headers: int = 200
    head_timeout: float = 30
    idle_timeout: float = 75
    idle_grace: float = 5
    body_timeout: float = 60
    body_minimum: int = KIB
    body_buffer: int = 128 * KIB
    write_timeout: float = 300
    drain: int = 256 * KIB
    linger: int = 16 * KIB * KIB
    linger_timeout: float = 10
    pipelined: int = 16 * KIB
    connections: int = 4096
    connections_per_address: int = 512
