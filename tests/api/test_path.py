"""path: a slash at the end says nothing."""

from tests.api.server import Api

LIST = "/api/v1/webhooks"


async def test_a_slash_at_the_end_changes_nothing(api: Api) -> None:
    """One or several, with a query behind them or without; the root stays what it is."""
    for path in (LIST + "/", LIST + "//", LIST + "/?timezone=UTC", "/health/"):
        assert (await api.call("GET", path)).status == 200, path
    for path in ("/", "//", "/api/v1/", "//api/v1/webhooks"):
        assert (await api.call("GET", path)).status == 404, path


async def test_an_escaped_slash_belongs_to_the_name(api: Api) -> None:
    """`a%2F` is another recipient than `a`."""
    seen: list[str] = []

    async def check(recipient: str, _subaccount_id: int | None) -> list[object]:
        seen.append(recipient)
        return []

    api.parts.suppression_list.check = check  # type: ignore[assignment,method-assign]  # what it is asked is what counts
    for spelled in ("a@example.com%2F", "a@example.com%2F/", "a@example.com/"):
        await api.call("GET", f"/api/v1/suppression-list/{spelled}")
    assert seen == ["a@example.com/", "a@example.com/", "a@example.com"]
