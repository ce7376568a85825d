"""TOML that anybody has written: what is wrong with it is told in words, whatever it is (pure)."""

import tomllib
from typing import Any


class NotToml(Exception):
    """What is no TOML; the message says why."""


def parse(text: str) -> dict[str, Any]:
    """Read a document, which may begin with the mark that some editors put before UTF-8.

    :raise NotToml: when it is none, or one that no config can be.
    """
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise NotToml(str(error)) from None
    except RecursionError:
        raise NotToml("it is nested too deeply") from None
    except ValueError:  # the interpreter's own limit (sys.set_int_max_str_digits)
        raise NotToml("a number in it is too long") from None
