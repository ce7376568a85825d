"""What every storage of shared records has to keep to."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList

from cachew.plumbing.errors import BadRequest, Conflict
from cachew.replicas.interface import Records
from cachew.replicas.progress import Progress


class RecordsContract:
    """The suite; ``records`` is a fixture of the subclass."""

    @pytest_twisted.ensureDeferred
    async def test_gives_back_what_was_put(self, records: Records) -> None:
        """A record comes back as it was put, with the version that its putting returned."""
        assert await records.get("a/b") is None
        value: dict[str, Any] = {"text": "naïve", "number": 1, "list": [1.5, None], "nested": {"x": True}}
        put = await records.put("a/b", value, version=None)
        found = await records.get("a/b")
        assert found == put
        assert found is not None
        assert found.value == value

    @pytest_twisted.ensureDeferred
    async def test_replaces_what_was_read_only(self, records: Records) -> None:
        """A put succeeds on the version that was read and on no other."""
        first = await records.put("name", {"n": 1}, version=None)
        with pytest.raises(Conflict):
            await records.put("name", {"n": 9}, version=None)
        second = await records.put("name", {"n": 2}, version=first.version)
        with pytest.raises(Conflict):
            await records.put("name", {"n": 9}, version=first.version)
        with pytest.raises(Conflict):
            await records.put("other", {"n": 9}, version=second.version)
        assert await records.get("name") == second
        assert await records.get("other") is None

    @pytest_twisted.ensureDeferred
    async def test_a_return_to_an_old_value_is_a_change(self, records: Records) -> None:
        """Versions differ though values are equal: who read before A became B and A again has read something else."""
        first = await records.put("name", {"n": 1}, version=None)
        second = await records.put("name", {"n": 2}, version=first.version)
        third = await records.put("name", {"n": 1}, version=second.version)
        assert len({first.version, second.version, third.version}) == 3
        with pytest.raises(Conflict):
            await records.put("name", {"n": 3}, version=first.version)

    @pytest_twisted.ensureDeferred
    async def test_one_of_many_wins(self, records: Records) -> None:
        """Of many that replace the same version at once, exactly one succeeds."""
        first = await records.put("name", {"n": 0}, version=None)
        racing = [
            Deferred.fromCoroutine(records.put("name", {"n": number}, version=first.version)) for number in range(1, 9)
        ]
        results = await DeferredList(racing, consumeErrors=True)
        won = [number for number, (succeeded, _) in enumerate(results, 1) if succeeded]
        assert len(won) == 1
        found = await records.get("name")
        assert found is not None
        assert found.value == {"n": won[0]}

    @pytest_twisted.ensureDeferred
    async def test_no_count_is_lost(self, records: Records) -> None:
        """Counting at once from several replicas loses nothing."""
        progress = Progress(records=records, clock=lambda: 0.0)
        assert await progress.counted("fetches") == 0
        await DeferredList([Deferred.fromCoroutine(progress.count("fetches")) for _ in range(5)])
        assert await progress.counted("fetches") == 5

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", "a b", "ä", "a" * 600])
    async def test_refuses_malformed_names(self, records: Records, name: str) -> None:
        """A name that could leave the records' folder is refused."""
        with pytest.raises(BadRequest):
            await records.get(name)
        with pytest.raises(BadRequest):
            await records.put(name, {}, version=None)
