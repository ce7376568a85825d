"""What strangers say, fit for a terminal.

A server's reason phrase, header or ref name goes into messages and results. What steers a terminal (its title, its
clipboard, what is on the screen already, the direction of writing) stands there escaped.
"""

import re

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    r"""Return a text in which only line ends and tabs are left of what steers a terminal; an escape is ``\x1b``."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
