"""Whether the store of shared records heeds the conditions of puts.

Some stores that speak S3's protocol take ``If-Match`` and ``If-None-Match`` and ignore them. Then every replica gets
every lease, so all of them make everything, and counts are lost; nobody would notice.
"""

from twisted.logger import Logger

from cachew.plumbing.errors import CachewError, Conflict
from cachew.replicas.records import Records

_PROBE = "probe"


class ConditionCheck:
    """Finds that out once, and says so when it is not the case.

    :param records: the shared records.
    """

    log = Logger()

    def __init__(self, *, records: Records) -> None:
        self._records = records
        self._known = False

    async def look(self) -> None:
        """Find out, unless that is known; when the store fails, or another replica is at it, it stays unknown."""
        if self._known:
            return
        try:
            heeded = await heeds_conditions(self._records)
        except CachewError:
            return
        self._known = True
        if not heeded:
            self.log.error(
                "the object store ignores the conditions of puts (If-Match, If-None-Match): each replica makes what "
                "one should make for all; have a store that heeds them, or only one replica"
            )


async def heeds_conditions(records: Records) -> bool:
    """Find out by puts in the place of a version that is there no more.

    :raise Conflict: when another replica is finding out at this moment.
    :raise StorageUnavailable: when the storage fails.
    """
    found = await records.get(_PROBE)
    outdated = await records.put(_PROBE, {}, version=None if found is None else found.version)
    await records.put(_PROBE, {}, version=outdated.version)
    for version in (None, outdated.version):
        try:
            await records.put(_PROBE, {}, version=version)
        except Conflict:
            continue
        return False
    return True
