from __future__ import annotations

import pytest

from sidecar.sandbox.answers import Answer
from sidecar.sandbox.router import Router


async def literal(*_: object) -> Answer:
    return Answer()


async def wild(*_: object) -> Answer:
    return Answer()


@pytest.fixture
def router() -> Router:
    router = Router()
    router.add("GET|PUT", "a/b", literal)
    router.add("GET", "a/*", wild)
    router.add("DELETE", "a/*/c", wild, public=True)
    router.add("*", "e/**", wild)
    return router


@pytest.mark.parametrize(
    ("path", "wilds"),
    [("a/b", []), ("a/x", ["x"]), ("a/x/c", ["x"]), ("e", []), ("e/f/g", []), ("a/*", ["*"])],
)
def test_a_path_leads_to_its_route(router: Router, path: str, wilds: list[str]) -> None:
    found = router.find(path.split("/"))
    assert found
    assert found[1] == wilds


@pytest.mark.parametrize("path", ["", "a", "b", "a/b/c", "a/x/d", "a/x/c/d"])
def test_other_paths_lead_nowhere(router: Router, path: str) -> None:
    assert router.find([part for part in path.split("/") if part]) is None


def test_a_literal_segment_goes_before_a_wild_one(router: Router) -> None:
    found = router.find(["a", "b"])
    assert found
    assert found[0].handlers == {"GET": literal, "PUT": literal}
    assert found[0].allow == "GET, HEAD, PUT"


def test_a_route_is_public_or_not(router: Router) -> None:
    for path, public in ((["a", "x"], False), (["a", "x", "c"], True)):
        found = router.find(path)
        assert found
        assert found[0].public is public
