"""app: one shape of errors, and an answer even while the database is away."""

import asyncio
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs
from tests.api.server import Api, running

from omni_etl.api.app import OPEN_PAUSE_SECONDS

LIST = "/api/v1/webhooks"


async def test_health_and_numbers_need_no_key(api: Api) -> None:
    """Probes and scrapers have none."""
    health = await api.call("GET", "/health", headers={"Authorization": ""})
    assert (health.status, health.body) == (200, {"status": "ok"})
    numbers = await api.call("GET", "/metrics", headers={"Authorization": ""})
    assert numbers.status == 200
    assert "# TYPE omni_supervisor_leases gauge" in numbers.body


async def test_the_status_is_what_the_parts_say(api: Api) -> None:
    """In SparkPost's `results`."""
    assert (await api.call("GET", "/api/v1/status")).body == {"results": {"fleet": {}}}


async def test_an_unknown_way_has_the_same_shape_of_error(api: Api) -> None:
    """No route, no method: clients read `errors` everywhere."""
    for method, path, status in [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/", 404),
        ("PUT", LIST, 405),
        ("GET", LIST + "s", 404),
    ]:
        answer = await api.call(method, path)
        assert (answer.status, bool(answer.error)) == (status, True), path
        assert ("allow" in answer.headers) == (status == 405), path


async def test_a_database_that_went_away_is_a_503(api: Api, tmp_path: Path) -> None:
    """With a time to come again; the process lives, and answers when the file is back."""
    database = tmp_path / "database"
    database.rename(tmp_path / "elsewhere")
    for path in (LIST, "/api/v1/suppression-list/a@b.c"):
        answer = await api.call("GET", path)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        assert answer.error.startswith("An engine is away")
    assert (await api.call("GET", "/health")).status == 200
    (tmp_path / "elsewhere").rename(database)
    assert (await api.call("GET", LIST)).status == 200


async def test_the_api_starts_without_its_database(tmp_path: Path) -> None:
    """It answers 503 and opens the database by itself when it is there."""
    (tmp_path / "database").write_text("a file where a directory should be")
    with capture_logs() as lines:
        async with running(tmp_path / "database") as api:
            assert [each["event"] for each in lines] == ["api_waiting"]
            answer = await api.call("GET", LIST, headers={"Authorization": "some"})
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
            (tmp_path / "database").unlink()
            api.clock.advance(OPEN_PAUSE_SECONDS)
            while (await api.call("GET", LIST, headers={"Authorization": "some"})).status == 503:
                await asyncio.sleep(0.001)
            api.key = await api.parts.keys.create("test")
            assert (await api.call("GET", LIST)).status == 200


async def test_a_fault_of_ours_is_a_500_and_logged_whole(tmp_path: Path) -> None:
    """The caller learns nothing of it."""

    async def broken() -> dict[str, Any]:
        raise RuntimeError("secret path")

    with capture_logs() as lines:
        async with running(tmp_path / "database", status=broken) as api:
            api.key = await api.parts.keys.create("test")
            answer = await api.call("GET", "/api/v1/status")
            assert (answer.status, "secret" in str(answer.body), bool(answer.error)) == (500, False, True)
    (line,) = [each for each in lines if each["event"] == "api_failed"]
    assert isinstance(line["exc_info"], RuntimeError)
