"""key_first: nobody unknown has a body read, kept or parsed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from tests.api.server import Api

HOOKS = "/api/v1/webhooks"


async def test_a_body_of_somebody_unknown_is_not_waited_for(api: Api) -> None:
    """401 comes while the body has hardly begun."""
    may_go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await may_go_on.wait()

    async with api.session.post(api.url + HOOKS, data=slow(), headers={"Authorization": "guess"}) as answer:
        assert answer.status == 401
        assert await answer.json() == {"errors": [{"message": "Unauthorized."}]}
    may_go_on.set()


async def test_what_is_wrong_with_a_body_is_said_to_keys_alone(api: Api) -> None:
    """Also where there is no such route."""
    for path in (HOOKS, HOOKS + "/x/validate", "/api/v1/nothing"):
        for header in ("", "guess"):
            answer = await api.call("POST", path, text="{", headers={"Authorization": header})
            assert (answer.status, answer.error) == (401, "Unauthorized."), path


async def test_a_body_meets_a_database_that_is_away(api: Api, tmp_path: Path) -> None:
    """503 with a time to come again, as without a body."""
    (tmp_path / "database").rename(tmp_path / "elsewhere")
    answer = await api.call("POST", HOOKS, text="{}")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
