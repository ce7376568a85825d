"""The kinds of values that settings have, and what a table of settings is (pure).

Every kind refuses what it does not allow with a text that says what it does.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, SecretStr

from cachew.plumbing.units import parse_duration, parse_size

_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[1-9][0-9]{0,4})?")

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
"""What requests can be."""
_CREDENTIALS = frozenset({"authorization", "proxy-authorization"})
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$&'*+.^`|~-]+")
_NO_CREDENTIALS = frozenset({
    "accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect",
    "forwarded", "git-protocol", "host", "keep-alive", "proxy-authorization", "range", "te", "trailer",
    "transfer-encoding", "upgrade", "user-agent", "via", "x-cachew-grant", "x-forwarded-for", "x-forwarded-host",
    "x-forwarded-proto", "x-real-ip",
})  # fmt: skip
"""Headers that have another meaning on the way to an upstream."""
_MOST = 2**31 - 1
"""The largest number that git and the system take where they count something."""
_LARGEST = 2**63 - 1
_SHORTEST = 0.001
_SHORTEST_INTERVAL = 0.1
_NO_HOST = re.compile(r"[^A-Za-z0-9._:~-]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_URL = re.compile(r"[^!-~]")


def _text_of(kind: str, example: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a {kind} is written as a string, for example {example}")
    return value


def _duration(value: object) -> float:
    seconds = parse_duration(_text_of("duration", '"90s"', value))
    if seconds < 0:
        raise ValueError("a duration must not be negative")
    if 0 < seconds < _SHORTEST:
        raise ValueError('must be at least "1ms"')
    return seconds


def _interval(seconds: float) -> float:
    if 0 < seconds < _SHORTEST_INTERVAL:
        raise ValueError('must be at least "100ms"; what is done again at once leaves no time for anything else')
    return seconds


def _positive(value: float) -> float:
    if not value:
        raise ValueError('must be more than "0s"')
    return value


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        size = value
    else:
        size = parse_size(_text_of("size", '"20GB"', value))
    if size > _LARGEST:
        raise ValueError("is more than the largest file can hold")
    return size


def _bound(value: int) -> int:
    if not value:
        raise ValueError("must be more than 0; this can't be without a bound")
    return value


def _whole(value: object) -> object:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("must be a whole number, without quotes")
    return value


def _path(value: object) -> object:
    if value == "":
        raise ValueError("must not be empty")
    if isinstance(value, str) and _CONTROL.search(value):
        raise ValueError("must not hold control characters")
    return value


def _argument(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold a NUL, which no program can be given")
    return value


def _secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.strip():
        raise ValueError("must not be empty; an empty secret would let everybody in")
    if text != text.strip() or not text.isprintable():
        raise ValueError("must not hold line breaks, nor blanks at its ends, which nobody would show")
    return value


def one_or_many(value: object) -> object:
    """Take a single string for a list of it."""
    return [value] if isinstance(value, str) else value


def _host(name: str) -> str:
    if name != "*" and (not _is_host(name) or name.endswith(":443")):
        raise ValueError('must be a host name in lower case, with its port unless that is 443, or "*"')
    return name


def _is_host(name: str) -> bool:
    return bool(_HOST.fullmatch(name)) and _split(f"https://{name}") is not None


def _token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.isascii() or " " in text:
        raise ValueError("must consist of ASCII characters without blanks, as can be sent in a header")
    return value


def _own_host(name: str) -> str:
    if not _HOST.fullmatch(name.lower()) or ":" in name:
        raise ValueError('must be a host name alone, such as "cachew.example": no port, no scheme, no path')
    return name


def _method(value: str) -> str:
    if value not in METHODS:
        raise ValueError(f"must be one of {', '.join(METHODS)}")
    return value


def _own_address(value: str) -> str:
    return _base_url(value) if "://" in value else _named_host(value)


def _named_host(name: str) -> str:
    if name == "*" or not _is_host(name):
        raise ValueError('must be a host name in lower case or a base URL such as "https://git.example/"')
    return name


def _rooted(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError('must begin with a slash, for example "/metrics"')
    return value


def _base_url(value: str) -> str:
    value = _http_url(value)
    return value if value.endswith("/") else value + "/"


def _http_url(value: str) -> str:
    parts = _split(value)
    if parts is None or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise ValueError('must be an http or https URL such as "https://git.example/"')
    if _NO_URL.search(value):
        raise ValueError("must consist of ASCII characters without blanks, others percent-encoded")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password; use [[credentials]]")
    return parts.geturl()


def proxy_complaint(url: str) -> str:
    """Say what is wrong with a proxy's URL, without what may be a password in it; nothing when it will do."""
    if "@" in url:
        return "holds a password; write url and credentials-file in its place"
    if url.lower().startswith("socks"):
        return "names a SOCKS proxy; only http and https proxies lead upstream: name one in url, or unset it"
    try:
        _http_url(url)
    except ValueError as error:
        return str(error)
    return ""


def _proxy_url(value: str) -> str:
    return value if value == "none" else _http_url(value)


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL, None when it names no host and port that can be connected to."""
    try:
        parts = urlsplit(url)
        reachable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if reachable and not _NO_HOST.search(parts.hostname or "") else None


def _object_prefix(value: str) -> str:
    if any(part in ("", ".", "..") or not part.isprintable() for part in value.strip("/").split("/")) and value:
        raise ValueError('must consist of names with single slashes between them, such as "cachew/test"')
    return value.strip("/")


def _address(value: object) -> IPv4Address | IPv6Address:
    return ip_address(_text_of("network address", '"10.1.2.3"', value))


def _network(value: object) -> IPv4Network | IPv6Network:
    return ip_network(_text_of("network", '"10.0.0.0/8"', value))


def not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list.

    :raise ValueError: then.
    """
    if not values:
        raise ValueError("must not be empty")
    return values


def _header_line(value: str) -> str:
    name, colon, text = value.partition(":")
    if not colon or not name.strip():
        raise ValueError('must be "Name: value"')
    scheme, _, credential = text.strip().partition(" ")
    if not scheme or (name.strip().lower() in _CREDENTIALS and not credential.strip()):
        raise ValueError('must be "Name: value", whose value is not empty')
    return value


def _header_name(value: str) -> str:
    if not _HEADER_NAME.fullmatch(value) or value.lower() in _NO_CREDENTIALS:
        raise ValueError('must be the name of a header that clients send as they like, such as "Cookie"')
    return value.lower()


Duration = Annotated[float, BeforeValidator(_duration), AfterValidator(_positive)]
DurationOrZero = Annotated[float, BeforeValidator(_duration)]
Interval = Annotated[Duration, AfterValidator(_interval)]
IntervalOrZero = Annotated[DurationOrZero, AfterValidator(_interval)]
Size = Annotated[int, BeforeValidator(_size)]
Bound = Annotated[int, BeforeValidator(_size), AfterValidator(_bound)]
FilePath = Annotated[Path, BeforeValidator(_path)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
Rooted = Annotated[str, AfterValidator(_rooted)]
Token = Annotated[SecretStr, AfterValidator(_secret), AfterValidator(_token)]
OwnHostNames = Annotated[tuple[Annotated[str, AfterValidator(_own_host)], ...], BeforeValidator(one_or_many)]
Method = Annotated[str, AfterValidator(_method)]
Methods = Annotated[tuple[Method, ...], BeforeValidator(one_or_many)]
Count = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=_MOST)]
AtLeastOne = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=_MOST)]
HostName = Annotated[str, AfterValidator(_host)]
Addresses = Annotated[tuple[Annotated[str, AfterValidator(_own_address)], ...], BeforeValidator(one_or_many)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
ProxyUrl = Annotated[str, AfterValidator(_proxy_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
ObjectPrefix = Annotated[str, AfterValidator(_object_prefix)]
HeaderLine = Annotated[str, AfterValidator(_header_line)]
HeaderNames = Annotated[tuple[Annotated[str, AfterValidator(_header_name)], ...], BeforeValidator(one_or_many)]
Text = Annotated[str, Field(min_length=1)]
Argument = Annotated[Text, AfterValidator(_argument)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(one_or_many)]
Address = Annotated[IPv4Address | IPv6Address, PlainValidator(_address)]
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(_network)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(one_or_many)]


def key(default: Any, meaning: str, *, example: str | None = None) -> Any:
    """Describe one key of the config file.

    :param default: as it would be written in the file; None for a key that is unset, ``...`` for one that must be set.
    :param meaning: one sentence for the reader of the file.
    :param example: TOML for a key that is unset by default.
    """
    return Field(default=default, description=meaning, examples=None if example is None else [example])


class Section(BaseModel):
    """A frozen table of the config file, that allows no other keys than its own."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        alias_generator=lambda name: name.replace("_", "-"),
        hide_input_in_errors=True,
    )
