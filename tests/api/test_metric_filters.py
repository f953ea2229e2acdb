"""api.metric_filters: conditions go together as they say, and only well-formed ones."""

import json
from urllib.parse import quote

from tests.api.counted_events import Event, by_hand
from tests.api.server import Api
from tests.api.test_metrics import FROM, ask, field


async def test_query_filters(searched: Api, counted: list[Event]) -> None:
    """Groupings go together; in each, all or any; simple filters count no more."""
    said = {
        "groupings": [
            {"OR": {"campaigns": {"like": ["SPRING"]}, "templates": {"eq": ["t2"]}}},
            {"AND": {"campaigns": {"notLike": ["autumn"]}, "subaccounts": {"notEq": [8]}}},
        ]
    }
    [row] = await ask(searched, "", query_filters=json.dumps(said), domains="nowhere.example", precision="hour")
    among = [
        each
        for each in counted
        if ("spring" in field(each, "campaign_id").lower() or field(each, "template_id") == "t2")
        and field(each, "campaign_id") != "autumn"
        and field(each, "subaccount_id") != "8"
    ]
    assert row == by_hand(among, 3600)


UNSCHEMATIC = [
    "{", "[]", "{}", '{"groupings":[{}]}', '{"groupings":[{"AND":{}}]}', '{"groupings":[{"XOR":{}}]}',
    '{"groupings":[{"AND":{"domains":{}}}]}', '{"groupings":[{"AND":{"domains":{"eq":[]}}}]}',
    '{"groupings":[{"AND":{"domains":{"like":["ab"]}}}]}', '{"groupings":[{"AND":{"colours":{"eq":["a"]}}}]}',
    '{"groupings":[],"more":1}', '{"groupings":[{"AND":{"domains":{"eq":["a"]}},"OR":{"domains":{"eq":["a"]}}}]}',
    "[" * 5000
]  # fmt: skip


async def test_query_filters_that_break_the_schema_are_refused(searched: Api) -> None:
    """With details in `validationErrors`."""
    for said in UNSCHEMATIC:
        path = f"/api/v1/metrics/deliverability?from={FROM}&metrics=count_sent&query_filters={quote(said)[:60_000]}"
        answer = await searched.call("GET", path)
        assert answer.status == 400, answer.body
        assert answer.body["errors"][0]["param"] == "query_filters"
        assert answer.body["validationErrors"]


async def test_texts_from_outside_are_no_statements(searched: Api, counted: list[Event]) -> None:
    """Quotes, braces and backslashes are compared, not run."""
    for text in ("' OR 1=1 --", "{x:String}", "\\", "$source", "%s", "\x00", "a'b"):
        for filters in ({"domains": text}, {"domains": text, "campaigns": text}):
            found = await ask(searched, "", metrics="count_injected", **filters)
            assert found == [{"count_injected": 0}], (filters, found)
