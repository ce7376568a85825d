"""The config of servers to which everything happens often, and which have room for hardly anything."""

from collections.abc import Mapping


def fast_config(git: Mapping[str, str], *, disk: str, packs: str, rights: int) -> str:
    """Return the text of a config.

    :param git: what stands in [git]: intervals of seconds instead of hours, and what goes with them.
    :param disk: what the disk tier may occupy.
    :param packs: what kept packs may occupy.
    :param rights: seconds for which a credential's right is good; a repository is taken for public twice as long.
    """
    lines = "\n".join(f'{name} = "{value}"' for name, value in git.items())
    return f"""
[git]
{lines}
[pack-cache]
limit = "{packs}"
min-free = "0"
[limits]
min-free = "0"
[access]
auth-ttl = "{rights}s"
public-grace = "{2 * rights}s"
[[cache]]
backend = "disk"
limit = "{disk}"
min-free = "0"
"""
