"""Reading request headers: the one way in which bytes of strangers become text, or a refusal (pure)."""

from collections.abc import Iterable, Iterator, Mapping

from cachew.plumbing.errors import BadRequest

_OPAQUE = frozenset({"cookie", "if-match", "if-none-match", "if-range"})
"""Names whose values may hold any byte: entity tags (RFC 9110, 8.8.3), and cookies that others have set."""


def text_of(name: str, values: Iterable[bytes]) -> str:
    """Return a header's text: one character for each byte (Latin-1), so that it can be sent on as it came.

    :param name: the header's.
    :param values: its values in their order, which are joined as RFC 9110, 5.3, says.
    :raise BadRequest: when it is no text in any sense that matters: not UTF-8.
    """
    whole = (b"; " if name.lower() == "cookie" else b", ").join(values)
    if not whole.isascii() and name.lower() not in _OPAQUE:
        try:
            whole.decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest(f"the header {name} is not text") from None
    return whole.decode("latin-1")


class Fields(Mapping[str, str]):
    """A request's headers as text, which is made, or refused, when one is looked at.

    :param raw: names, and the values of each.
    """

    def __init__(self, raw: Iterable[tuple[bytes, Iterable[bytes]]]) -> None:
        self._raw = {name.decode("latin-1").lower(): tuple(values) for name, values in raw}

    def __getitem__(self, name: str) -> str:
        return text_of(name, self._raw[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def __contains__(self, name: object) -> bool:
        return name in self._raw
