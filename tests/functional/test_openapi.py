"""The description of the HTTP interface has every route, and no other."""

import re
from pathlib import Path
from typing import Any

import pytest_twisted
import yaml

from cachew.mirrors.identity import _OPERATIONS
from tests.functional.conftest import Start

DESCRIPTION = Path(__file__).parents[2] / "docs" / "openapi.yaml"
METHODS = {"get", "head", "post", "put", "delete"}


def described() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(DESCRIPTION.read_text())
    return found


def test_every_operation_says_what_it_is_and_what_comes_of_it() -> None:
    """Each has a sentence, answers with descriptions, and names its path's parts."""
    document = described()
    assert document["openapi"].startswith("3.1")
    for path, item in document["paths"].items():
        named = {one["name"] for one in item.get("parameters", [])}
        assert named == set(re.findall(r"\{(\w+)\}", path)), path
        operations = {method: one for method, one in item.items() if method != "parameters"}
        assert operations and set(operations) <= METHODS, path
        for operation in operations.values():
            assert operation["summary"].endswith(".") and operation["responses"], path


@pytest_twisted.ensureDeferred
async def test_every_route_is_described(start: Start) -> None:
    """Routes of the server, what is asked of repositories and of objects included, are those of the description."""
    cachew = await start()
    paths = set(described()["paths"])
    ours = {re.sub(r"<(?:path:)?(\w+)>", r"{\1}", path) for path in cachew.parts.web.app.paths}
    ours = {path for path in ours if not path.startswith(("/git/", "/api/v1/object"))}
    ours.remove("/admin/repositories/{rest}")
    ours.add("/admin/repositories/{host}/{path}/{action}")
    below = {
        f"/git/{{host}}/{{path}}/{operation}" for operation in (*_OPERATIONS, "info/lfs/{operation}", "objects/{file}")
    }
    objects = {"/api/v1/object/{namespace}/{key}", "/api/v1/object/{namespace}/{key}/invalidate"}
    assert ours | below | objects == paths
