"""The Go original's config in this server's words (pure).

What has a counterpart here is translated; of everything else a remark says what becomes of it. HCL itself is read by
python-hcl2, as plain dictionaries: attributes by their names, blocks as lists, a block's label as a dictionary of one.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cachew.client.clienterrors import BadUsage

_GIT = ("snapshot-interval", "snapshot-max-age", "mirror-snapshot-interval", "repack-interval", "bundle-cache-ttl")
_CLONE = {
    "ref-check-interval": "ref-check-interval",
    "ls-remote-timeout": "ref-check-timeout",
    "clone-timeout": "clone-timeout",
    "fetch-timeout": "fetch-timeout",
    "pack-threads": "pack-threads",
}
_STORES = {"memory": {"max-ttl": "max-ttl"}, "disk": {"root": "path", "max-ttl": "max-ttl"}}
_LEVELS = ("debug", "info", "warn", "error")
_BY_DEFAULT = {"path": "${CACHEW_STATE}/cache"}


@dataclass
class Migrated:
    """A translated config.

    :param top: keys before the first table.
    :param tables: names of tables, in brackets, with their keys, in order.
    :param remarks: what was not taken over, and what is different here.
    """

    top: dict[str, Any] = field(default_factory=dict)
    tables: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def toml(self) -> str:
        """Return the config file's text, with the remarks at its end."""
        lines = _lines(self.top)
        for name, keys in self.tables:
            lines += ["", name, *_lines(keys)] if keys else []
        lines += ["", *(f"# {remark}" for remark in self.remarks)] if self.remarks else []
        return "\n".join(lines).lstrip("\n") + "\n"


def read_hcl(text: str) -> dict[str, Any]:
    """Read the original's config file.

    :raise BadUsage: it is no HCL, or what reads it is not installed.
    """
    try:
        import hcl2
        from lark.exceptions import LarkError
    except ImportError:
        advice = "Install it: pip install 'cachewd[migrate]'."
        raise BadUsage("python-hcl2, which reads HCL, is not installed.", advice) from None
    options = hcl2.SerializationOptions(with_comments=False, explicit_blocks=False, preserve_heredocs=False)
    try:
        read: dict[str, Any] = _plain(hcl2.loads(f"{text}\n", serialization_options=options))
        return read
    except LarkError as error:
        raise BadUsage(f"This is no HCL: {str(error).partition(chr(10))[0]}") from None


def _plain(value: Any) -> Any:
    """Return what was read with its strings and names as they are meant, not as they are written."""
    if isinstance(value, dict):
        return {_plain(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, str) and value.startswith('"'):
        try:
            return json.loads(value, strict=False)
        except ValueError:
            return value.strip('"')
    return value


def migrated(config: Mapping[str, Any]) -> Migrated:
    """Translate what was read.

    :param config: see :func:`read_hcl`.
    """
    result = Migrated()
    left = dict(config)
    _take_top(left, result)
    git: dict[str, Any] = {}
    _take_strategies(left.pop("strategy", []), git, result)
    for block in left.pop("git-clone", []):
        git |= _renamed(block, _CLONE, "git-clone", result)
    result.tables.append(("[git]", git))
    store = (left.pop("s3", None) or [{}])[0]
    for label, block in _labelled(left.pop("cache", [])):
        result.tables.append(("[[cache]]", _tier(label, block, store, result)))
    for block in left.pop("github-app", []):
        result.tables.append(("[[credentials]]", _github_app(block, result)))
    result.remarks += [remark for name, value in left.items() for remark in _other(name, value)]
    result.remarks.append("Loopback may not administer here without the admin token: access.trust-loopback")
    return result


def _take_top(left: dict[str, Any], result: Migrated) -> None:
    """Take the keys outside of blocks, and the log's."""
    for name in ("state", "shutdown-readiness-delay", "shutdown-timeout"):
        if name in left:
            result.top[name] = left.pop(name)
    if "bind" in left:
        result.top["listen"] = [_endpoint(str(left.pop("bind")))]
    url = str(left.pop("url", ""))
    if url and "//127.0.0.1" not in url and "//localhost" not in url:
        result.top["public-url"] = url.rstrip("/") + "/"
    for block in left.pop("log", []):
        level = str(block.pop("level", "info")).lower()
        result.top["log-level"] = level if level in _LEVELS else "info"
        if block.pop("json", False):
            result.top["log-format"] = "json"
        result.remarks += [f"log: {name} has no counterpart" for name in block]


def _endpoint(bind: str) -> str:
    """Return Twisted's description of ``HOST:PORT``."""
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    if not host:
        return f"tcp:{port}"
    escaped = host.replace(":", "\\:")
    return f"{'tcp6' if ':' in host else 'tcp'}:{port}:interface={escaped}"


def _labelled(blocks: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the label and the body of blocks that have one: ``cache disk { … }``."""
    for block in blocks:
        for label, body in block.items():
            yield label, body if isinstance(body, dict) else {}


def _take_strategies(blocks: list[dict[str, Any]], git: dict[str, Any], result: Migrated) -> None:
    for label, block in _labelled(blocks):
        if label == "git":
            git |= _renamed(block, {name: name for name in _GIT}, "strategy git", result)
        else:
            what = " ".join(
                (label, *(name for name, inner in block.items() if isinstance(inner, dict) and "/" in name))
            )
            result.remarks.append(f"strategy {what}: not here, this server caches git, and objects over its API")


def _renamed(block: Mapping[str, Any], names: Mapping[str, str], where: str, result: Migrated) -> dict[str, Any]:
    result.remarks += [f"{where}: {name} has no counterpart" for name in block if name not in names]
    return {names[name]: value for name, value in block.items() if name in names}


def _tier(label: str, block: dict[str, Any], store: Mapping[str, Any], result: Migrated) -> dict[str, Any]:
    keys: dict[str, Any] = {"backend": label}
    limit = block.pop("limit-mb", None)
    if limit is not None:
        keys["limit"] = f"{limit}MiB"
    if label == "s3":
        return keys | _store(store, result) | _renamed(block, {"bucket": "bucket", "max-ttl": "max-ttl"}, "s3", result)
    if label not in _STORES:
        raise BadUsage(f"cache {label} is not known here.", "Write memory, disk or s3.")
    keys |= _renamed(block, _STORES[label], f"cache {label}", result)
    return {name: value for name, value in keys.items() if _BY_DEFAULT.get(name) != value}


def _store(store: Mapping[str, Any], result: Migrated) -> dict[str, Any]:
    keys: dict[str, Any] = {"region": store.get("region", "us-west-2")}
    endpoint = str(store.get("endpoint", "s3.amazonaws.com"))
    if endpoint != "s3.amazonaws.com":
        keys["endpoint"] = f"{'https' if store.get('use-ssl', True) else 'http'}://{endpoint}/"
    if store.get("skip-ssl-verify"):
        result.remarks.append("s3: skip-ssl-verify has no counterpart: certificates are verified")
    return keys


def _github_app(block: Mapping[str, Any], result: Migrated) -> dict[str, Any]:
    for name in block:
        if name == "fallback-org":
            result.remarks.append("github-app: fallback-org is installation-id here, the number of its installation")
        elif name == "installations":
            result.remarks.append("github-app: installations are found by themselves")
    result.remarks.append(
        'Private repositories are for those whom GitHub lets in; as before: access.mode = "trusted-network"'
    )
    keys = {"kind": "github-app", "url-prefix": "https://github.com/", "app-id": str(block.get("app-id", ""))}
    return keys | {"private-key-file": block.get("private-key-path", "")}


def _other(name: str, value: Any) -> Iterator[str]:
    if name == "metrics":
        yield "metrics are at /metrics of the same port, for whoever has the admin token"
    elif name == "metadata":
        yield "metadata: replicas share what they know in the last tier of the cache"
    elif name == "opa":
        yield "opa: policies are not run here: write [[access.rule]], or name an agent of yours in access.opa-url"
    elif name == "scheduler":
        yield "scheduler: see git.max-fetches, git.max-clones and git.snapshot-concurrency"
    else:
        yield f"{name} has no counterpart"


def _lines(keys: Mapping[str, Any]) -> list[str]:
    # TOML's strings, numbers, booleans and lists of strings are written as JSON's.
    return [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in keys.items()]
