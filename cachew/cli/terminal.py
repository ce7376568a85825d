"""What strangers say, fit for a terminal.

A server's reason phrase, header or ref name goes into messages and results. What steers a terminal (its title, its
clipboard, what is on the screen already, the direction of writing) stands there escaped.
"""

_RANGES = ((0, 8), (0x0B, 0x1F), (0x7F, 0x9F), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x2069), (0x61C, 0x61C))


def harmless(text: str) -> str:
    r"""Return a text in which only line ends and tabs are left of what steers a terminal; an escape is ``\x1b``."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(letter: str) -> str:
    code = ord(letter)
    steers = any(first <= code <= last for first, last in _RANGES)
    return letter.encode("unicode_escape").decode() if steers else letter
