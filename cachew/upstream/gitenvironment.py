"""What git children are given in their environment: configuration, joined out of several places."""

from collections.abc import Mapping

from cachew.plumbing import tracing
from cachew.plumbing.logs import REQUEST_ID, request_id


def of_request() -> Mapping[str, str]:
    """Return what has a git child show the id of the request that it works for, and go on with its trace."""
    identifier = request_id()
    shown = {**({REQUEST_ID: identifier} if identifier else {}), **tracing.current().headers()}
    said = {} if not shown else {"GIT_CONFIG_COUNT": str(len(shown))}
    for number, (name, value) in enumerate(shown.items()):
        said |= {f"GIT_CONFIG_KEY_{number}": "http.extraHeader", f"GIT_CONFIG_VALUE_{number}": f"{name}: {value}"}
    return said


def joined(one: Mapping[str, str], other: Mapping[str, str]) -> Mapping[str, str]:
    """Join two environments that each bring git configuration (git-config(1), ``GIT_CONFIG_COUNT``)."""
    first, second = int(one.get("GIT_CONFIG_COUNT", "0")), int(other.get("GIT_CONFIG_COUNT", "0"))
    if not first or not second:
        return {**one, **other}
    both = {**one, **{name: value for name, value in other.items() if not name.startswith("GIT_CONFIG_")}}
    for number in range(second):
        both[f"GIT_CONFIG_KEY_{first + number}"] = other[f"GIT_CONFIG_KEY_{number}"]
        both[f"GIT_CONFIG_VALUE_{first + number}"] = other[f"GIT_CONFIG_VALUE_{number}"]
    return both | {"GIT_CONFIG_COUNT": str(first + second)}
