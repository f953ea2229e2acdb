"""webhooks: create, list, read, delete; what cannot work is refused, and secrets are never shown."""

from typing import Any

from tests.api.server import Answer, Api

from omni_etl.webhook import SUBACCOUNTS_ALL

LIST = "/api/v1/webhooks"
GOOD: dict[str, Any] = {"name": "mine", "target": "https://example.com/hook?a=1", "events": ["delivery", "bounce"]}
REFUSED: list[tuple[str, Any]] = [
    ("name", None),
    ("name", ""),
    ("name", "x" * 1025),
    ("target", None),
    ("target", "example.com/hook"),
    ("target", "ftp://example.com"),
    ("target", "https://"),
    ("target", "https://user:password@example.com"),
    ("target", "https://:password@example.com"),
    ("target", "https://[::1"),
    ("target", "https://example.com:99999/"),
    ("target", "https://example.com:port/"),
    ("target", "https://example.com/a\r\nX-Evil: 1"),
    ("target", "https://example.com/a b"),
    ("target", "https://example.com/" + "x" * 4096),
    ("events", None),
    ("events", []),
    ("events", ["delivery", "deliverance"]),
    ("events", "delivery"),
    ("active", "perhaps"),
    ("custom_headers", {"a b": "c"}),
    ("custom_headers", {"": "c"}),
    ("custom_headers", {"X-A": "b\r\nX-Evil: 1"}),
    ("custom_headers", {"X-A\r\nX-Evil": "b"}),
    ("custom_headers", {"X-A": "x" * 3000}),
    ("custom_headers", {f"X-{n}": "b" for n in range(6)}),
    ("exception_subaccounts", list(range(11))),
    ("auth_type", "digest"),
    ("auth_credentials", None),
]


async def create(api: Api, **changed: Any) -> Answer:
    """With these members changed; None leaves one out."""
    body = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    return await api.call("POST", LIST, body=body)


async def test_a_webhook_is_kept_listed_read_and_deleted(api: Api) -> None:
    """As SparkPost answers; afterwards it is gone."""
    created = await create(api)
    assert created.status == 200
    webhook_id = created.body["results"]["id"]
    (link,) = created.body["results"]["links"]
    assert link["href"] == f"{LIST}/{webhook_id}"
    read = await api.call("GET", link["href"])
    assert read.body["results"] == {
        "id": webhook_id,
        **GOOD,
        "events": ["bounce", "delivery"],
        "active": True,
        "custom_headers": {},
        "exception_subaccounts": [],
        "auth_type": "none",
        "links": [link],
    }
    assert (await api.call("GET", LIST)).body == {"results": [read.body["results"]]}
    deleted = await api.call("DELETE", link["href"])
    assert (deleted.status, deleted.body) == (204, "")
    for method in ("GET", "DELETE"):
        answer = await api.call(method, link["href"])
        assert (answer.status, answer.error) == (404, "Webhook could not be found")
    assert (await api.call("GET", LIST)).body == {"results": []}


async def test_a_secret_is_kept_and_never_shown(api: Api) -> None:
    """Neither by itself nor in what the customer may read."""
    credentials = {"username": "ann", "password": "pässword"}
    answer = await create(api, auth_type="basic", auth_credentials=credentials)
    assert answer.status == 200
    (kept,) = await api.parts.webhooks.all()
    assert kept.auth_header == "Basic YW5uOnDDpHNzd29yZA=="
    shown = (await api.call("GET", LIST)).body["results"][0]
    assert shown["auth_type"] == "basic"
    assert "YW5u" not in str(shown)
    assert "ssword" not in str(shown)


async def test_the_subaccount_header_says_whose_events_are_meant(api: Api) -> None:
    """Without it the primary account and all subaccounts; 0 is the primary account alone."""
    cases: list[tuple[str | None, int]] = [(None, SUBACCOUNTS_ALL), ("0", 0), ("7", 7)]
    for header, subaccount_id in cases:
        answer = await api.call("POST", LIST, body=GOOD, headers={"X-MSYS-SUBACCOUNT": header} if header else {})
        webhook_id = answer.body["results"]["id"]
        (kept,) = [each for each in await api.parts.webhooks.all() if each.id == webhook_id]
        assert kept.subaccount_id == subaccount_id
        shown = (await api.call("GET", f"{LIST}/{webhook_id}")).body["results"]
        assert shown.get("subaccount_id") == (subaccount_id if subaccount_id > 0 else None)


async def test_what_we_do_not_know_is_ignored(api: Api) -> None:
    """Members that SparkPost has and we do not, so that scripts go on working."""
    assert (await create(api, auth_token="", unknown={"a": 1})).status == 200


async def test_what_cannot_work_is_refused_by_name(api: Api) -> None:
    """400, the member in the message, and nothing kept."""
    taken = []
    for member, value in REFUSED:
        changed = {member: value, **({"auth_type": "basic"} if member == "auth_credentials" else {})}
        answer = await create(api, **changed)
        if answer.status != 400 or f"'{member}" not in answer.error:
            taken.append((member, value, answer))
    assert taken == []
    assert list(await api.parts.webhooks.all()) == []


async def test_a_body_that_is_no_object_is_refused(api: Api) -> None:
    """With 400 and the usual shape."""
    for text in ("", "{", "[]", "null", '{"name": NaN'):
        answer = await api.call("POST", LIST, text=text, headers={"Content-Type": "application/json"})
        assert (answer.status, bool(answer.error)) == (400, True), text
