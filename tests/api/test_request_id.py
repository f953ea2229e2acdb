"""request_id: an answer and the log lines of its request can be laid side by side."""

import re
from pathlib import Path
from typing import Any

import structlog
from structlog.testing import capture_logs
from tests.api.server import Api, running


async def test_every_answer_has_an_id(api: Api) -> None:
    """Good ones and refusals of every kind, each another."""
    answers = [
        await api.call("GET", "/health"),
        await api.call("GET", "/nothing"),
        await api.call("PUT", "/health"),
        await api.call("GET", "/api/v1/webhooks", headers={"Authorization": ""}),
        await api.call("POST", "/api/v1/webhooks", text="x", headers={"Authorization": ""}),
        await api.call("POST", "/api/v1/webhooks", text="x" * 100),
    ]
    ids = [each.headers["X-Request-Id"] for each in answers]
    assert [each.status for each in answers] == [200, 404, 405, 401, 401, 400]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in ids)


async def test_a_sane_id_is_taken(api: Api) -> None:
    """What would not fit a log line or a header is not."""
    for said, taken in (("trace-1/a:b.c_D=", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("", False)):
        answer = await api.call("GET", "/health", headers={"X-Request-Id": said})
        assert (answer.headers["X-Request-Id"] == said) == taken, said


async def test_log_lines_of_a_request_carry_its_id(tmp_path: Path) -> None:
    """A fault of ours too, whose answer is made outside of everything; lines of others do not."""

    async def broken() -> dict[str, Any]:
        structlog.get_logger().info("on the way")
        raise RuntimeError

    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        async with running(tmp_path / "database", status=broken) as api:
            api.key = await api.parts.keys.create("test")
            answer = await api.call("GET", "/api/v1/status", headers={"X-Request-Id": "mine"})
        structlog.get_logger().info("afterwards")
    assert (answer.status, answer.headers["X-Request-Id"]) == (500, "mine")
    assert [(each["event"], each.get("request_id")) for each in lines] == [
        ("on the way", "mine"),
        ("api_failed", "mine"),
        ("afterwards", None),
    ]
