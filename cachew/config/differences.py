"""Which keys differ between two configs, and which of them count while the server runs (pure)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from cachew.config.settings import Settings
from cachew.config.types import Section
from cachew.config.upstreams import Upstream

Path = tuple[str | int, ...]

ANY = "*"
"""Stands for any step of a path."""

CHANGEABLE: tuple[Path, ...] = (
    ("log-level",),
    *(
        ("upstreams", ANY, name)
        for name in ("url", "suffix", "credential-headers", "aliases", "proxy", "proxy-credentials-file")
    ),
    ("proxy",),
    ("git", "ref-check-interval"),
    ("git", "snapshot-interval"),
    ("git", "bundle-interval"),
    ("git", "mirror-snapshot-interval"),
    ("git", "repack-interval"),
    ("git", "snapshot-max-age"),
    ("git", "lfs-snapshots"),
    ("git", "scrub-interval"),
    ("git", "scrub-rate"),
    ("git", "mirror-limit"),
    ("git", "forget-after"),
    ("access", "trust-loopback"),
    ("access", "proxies"),
    ("access", "rule"),
    ("access", "test"),
    ("admin", "host-names"),
    ("credentials",),
    ("webhook",),
)
"""What is taken up while the server runs; a change of anything else counts from the next start."""


def differences(old: Settings, new: Settings) -> list[Path]:
    """Return the keys whose values differ; a host that comes or goes is told by each of its keys that is set."""
    return list(_differences(old, new, ()))


def is_changeable(path: Path) -> bool:
    """Say whether a key is taken up while the server runs."""
    return any(_covers(one, path) for one in CHANGEABLE)


def _covers(pattern: Sequence[str | int], path: Path) -> bool:
    return len(path) >= len(pattern) and all(p in (ANY, step) for p, step in zip(pattern, path, strict=False))


def _differences(old: Section, new: Section, path: Path) -> Iterator[Path]:
    for name, field in type(new).model_fields.items():
        here = (*path, field.alias or name)
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(after, Section):
            yield from _differences(before, after, here)
        elif isinstance(after, Mapping):
            yield from _hosts(before, after, here)
        elif before != after:
            yield here


def _hosts(before: Mapping[str, Upstream], after: Mapping[str, Upstream], path: Path) -> Iterator[Path]:
    for host in _ordered(before, after):
        here = (*path, host)
        if host not in before or host not in after:
            yield (*here, "url")
        found = _differences(before.get(host, Upstream()), after.get(host, Upstream()), here)
        yield from (one for one in found if one[-1] != "url" or (host in before and host in after))


def _ordered(*names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for some in names for name in some))
