"""What a client shows an upstream to prove who it is: ``Authorization``, and the headers that the config names (pure).

It travels through the server as one text, so that whatever is remembered or shared by credential tells any two apart.
The text is the value of ``Authorization`` where there is nothing else, and otherwise that value, which may be empty,
and a line ``name: value`` for each of the others: no header has a line break in it.
"""

from collections.abc import Callable, Collection

from cachew.upstream.headers import RawHeaders

AUTHORIZATION = "authorization"


def credential_of(header: Callable[[str], str | None], names: Collection[str]) -> str | None:
    """Return what a request shows, None when that is nothing.

    :param header: returns a header's text, one character for each byte, None or nothing when there is none.
    :param names: lower-case names of further headers that are credentials.
    """
    authorization = header(AUTHORIZATION)
    others = [f"{name}: {value}" for name in sorted({*names} - {AUTHORIZATION}) if (value := header(name))]
    return "\n".join([authorization or "", *others]) if others else authorization


def headers_of(credential: str | None) -> RawHeaders:
    """Return the headers by which a credential is shown."""
    if credential is None:
        return []
    authorization, *others = credential.encode("latin-1").split(b"\n")
    pairs = [line.partition(b": ") for line in others]
    shown = [(name, value) for name, _, value in pairs]
    return [(b"Authorization", authorization), *shown] if authorization or not others else shown
