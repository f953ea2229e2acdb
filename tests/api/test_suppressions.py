"""suppressions: every line of SparkPost's reference, §5.2, over HTTP."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from tests.api.server import Answer, Api

from omni_etl.suppression_list import COMPLIANCE, Saying, SuppressionType

LIST = "/api/v1/suppression-list"
ANN = "ann+news/eu@example.com"
TYPE_TEXT = "Type must be one of: 'transactional', 'non_transactional'"


async def suppress(
    api: Api,
    recipient: str = ANN,
    *,
    subaccount_id: int = 0,
    kind: SuppressionType = "transactional",
    holds: bool = True,
) -> None:
    """Somebody said so."""
    saying = Saying(
        subaccount_id=subaccount_id,
        recipient=recipient,
        type=kind,
        suppressed=holds,
        said_at_ms=1_700_000_000_000 + (not holds),
        said_id="a",
        source="Bounce Rule",
        description="550 unknown",
    )
    await api.parts.suppression_list.say([saying])


SPELLINGS = [
    "ann+news/eu@example.com",
    "ann%2Bnews%2Feu%40example.com",
    "ANN+News/EU@Example.COM",
    "%20ann+news%2feu@example.com",
]
OTHERS = ["ann%20news/eu@example.com", "ann%252Bnews/eu@example.com", "ann+news@example.com"]


async def test_an_address_is_found_however_it_is_spelled(api: Api) -> None:
    """A plus is a plus, a slash may stand bare or escaped, letters have no case; and nobody else is suppressed by it."""
    await suppress(api)
    for spelled in SPELLINGS:
        answer = await api.call("GET", f"/api/v1/suppression-list/{spelled}")
        assert (answer.status, answer.body.get("total_count")) == (200, 1), spelled
    for other in OTHERS:
        answer = await api.call("GET", f"/api/v1/suppression-list/{other}")
        assert (answer.status, answer.error) == (404, "Recipient could not be found"), other


async def test_an_entry_says_why_and_since_when(api: Api) -> None:
    """With SparkPost's members."""
    await suppress(api)
    answer = await api.call("GET", f"/api/v1/suppression-list/{ANN}")
    assert answer.status == 200
    assert answer.body == {
        "results": [
            {
                "recipient": ANN,
                "type": "transactional",
                "source": "Bounce Rule",
                "description": "550 unknown",
                "created": "2023-11-14T22:13:20+00:00",
                "updated": "2023-11-14T22:13:20+00:00",
                "transactional": True,
            }
        ],
        "links": [],
        "total_count": 1,
    }


async def test_a_percent_sign_is_part_of_an_address(api: Api) -> None:
    """Escaped once by the client, as RFC 3986 wants."""
    await suppress(api, "a%2bb@example.com")
    assert (await api.call("GET", "/api/v1/suppression-list/a%252bb@example.com")).status == 200
    assert (await api.call("GET", "/api/v1/suppression-list/a%2bb@example.com")).status == 404


async def test_a_deleted_entry_no_longer_holds(api: Api) -> None:
    """Its tombstone is not shown."""
    await suppress(api)
    await suppress(api, holds=False)
    assert (await api.call("GET", f"/api/v1/suppression-list/{ANN}")).status == 404


async def test_without_a_subaccount_all_of_them_answer(api: Api) -> None:
    """Each entry names its subaccount, the primary account none; the header asks for one."""
    await suppress(api)
    await suppress(api, subaccount_id=7, kind="non_transactional")
    both = (await api.call("GET", f"/api/v1/suppression-list/{ANN}")).body["results"]
    assert [(each.get("subaccount_id"), each["type"]) for each in both] == [
        (None, "transactional"),
        ("7", "non_transactional"),
    ]
    for subaccount, count in (("7", 1), ("0", 1)):
        answer = await api.call("GET", f"/api/v1/suppression-list/{ANN}", headers={"X-MSYS-SUBACCOUNT": subaccount})
        assert answer.body["total_count"] == count
    answer = await api.call("GET", f"/api/v1/suppression-list/{ANN}", headers={"X-MSYS-SUBACCOUNT": "8"})
    assert answer.status == 404


async def test_a_subaccount_that_is_none_is_refused(api: Api) -> None:
    """The member that is wrong is named; everywhere."""
    for subaccount in ("-1", "one", "2147483648", "99999999999999999999"):
        for method, path in (
            ("GET", f"{LIST}/{ANN}"),
            ("GET", LIST),
            ("DELETE", f"{LIST}/{ANN}"),
            ("GET", f"{LIST}/summary"),
        ):
            answer = await api.call(method, path, headers={"X-MSYS-SUBACCOUNT": subaccount}, text="")
            assert answer.status == 400, (subaccount, method, path)
            assert answer.body == {"errors": [{"message": "X-MSYS-SUBACCOUNT must be a number"}]}


async def put(api: Api, body: Any, where: str = "", **headers: str) -> Answer:
    """Of many, or of one."""
    return await api.call("PUT", f"{LIST}{where}", body=body, headers=headers)


async def found(api: Api, where: str = "", **headers: str) -> list[dict[str, Any]]:
    """What a GET lists."""
    answer = await api.call("GET", f"{LIST}{where}", headers=headers)
    assert answer.status == 200, answer.body
    assert answer.body["total_count"] == len(answer.body["results"])
    results: list[dict[str, Any]] = answer.body["results"]
    return results


async def test_one_is_put_read_and_removed(api: Api) -> None:
    """With the exact words, and its time is the server's."""
    answer = await put(api, {"type": "transactional", "description": "asked", "list_id": "news"}, "/Ann+x@Example.com")
    assert (answer.status, answer.body) == (200, {"results": {"message": "Suppression list successfully updated"}})
    now = datetime.fromtimestamp(api.clock.now(), UTC).isoformat()
    assert await found(api, "/ann+x@example.com") == [
        {
            "recipient": "ann+x@example.com",
            "type": "transactional",
            "source": "Manually Added",
            "description": "asked",
            "list_id": "news",
            "created": now,
            "updated": now,
            "transactional": True,
        }
    ]
    answer = await api.call("DELETE", f"{LIST}/ANN+x@example.com", text="")
    assert (answer.status, answer.body) == (204, "")
    for method in ("DELETE", "GET"):
        answer = await api.call(method, f"{LIST}/ann+x@example.com", text="")
        assert (answer.status, answer.body) == (404, {"errors": [{"message": "Recipient could not be found"}]})


async def test_an_entry_that_is_put_again_keeps_its_creation(api: Api) -> None:
    """And takes the new words."""
    await put(api, {"type": "transactional"}, "/a@x.example")
    created = (await found(api, "/a@x.example"))[0]["created"]
    api.clock.advance(60)
    await put(api, {"type": "transactional", "description": "again"}, "/a@x.example")
    [entry] = await found(api, "/a@x.example")
    assert (entry["description"], entry["created"]) == ("again", created)
    assert entry["updated"] > created


async def test_many_are_put_at_once(api: Api) -> None:
    """With other words than one; a slash at the end changes nothing; old names and booleans count; of a double only the first."""
    recipients = [
        {"recipient": "a@x.example", "type": "transactional", "description": "first"},
        {"recipient": "A@X.example ", "type": "non_transactional", "description": "second"},
        {"email": "b@x.example", "transactional": True, "non_transactional": True},
        {"email": "c@x.example", "transactional": False, "non_transactional": True, "nonsense": 1},
    ]
    answer = await api.call("PUT", f"{LIST}/", body={"recipients": recipients, "nonsense": 1})
    assert (answer.status, answer.body) == (200, {"results": {"message": "Suppression List successfully updated"}})
    assert {(each["recipient"], each["type"], each["description"]) for each in await found(api)} == {
        ("a@x.example", "transactional", "first"),
        ("b@x.example", "transactional", ""),
        ("b@x.example", "non_transactional", ""),
        ("c@x.example", "non_transactional", ""),
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"recipients": [{"recipient": "a", "type": "x"}, {"type": "x"}, 7, {"recipient": "ok@x.example"}]},
         "PUT body contains 3 invalid or malformed recipient(s): a, null, 7"),
        ({"recipients": [{"recipient": "a\x00@x.example", "type": "transactional"}]},
         "PUT body contains 1 invalid or malformed recipient(s): a\x00@x.example"),
        ({"recipients": [{"recipient": "a@x.example", "type": "both"}]}, TYPE_TEXT),
        ({"recipients": [{"recipient": "a@x.example", "type": ["transactional"]}]}, TYPE_TEXT),
        ({"recipients": [{"recipient": "a@x.example", "transactional": "yes"}]}, "transactional must be a boolean if present"),
        ({"recipients": [{"recipient": "a@x.example", "type": "transactional", "non_transactional": 1}]},
         "non_transactional must be a boolean if present"),
        ({"recipients": [{"recipient": "a@x.example"}]}, "Must supply a suppression type"),
        ({"recipients": [{"recipient": "a@x.example", "transactional": False}]}, "Must supply a suppression type"),
        ({"recipients": [{"recipient": "a@x.example", "type": "transactional"}, {"recipient": "a@x.example"}]},
         "Must supply a suppression type"),
        ({"recipients": [{"recipient": "a@x.example", "type": "transactional", "description": 7}]},
         "description must be a string if present"),
        ({"recipients": [{"recipient": "a@x.example", "type": "transactional", "list_id": "a..b"}]}, "list_id must be 1 to 255"),
        ({}, "'recipients' is required"),
        ({"recipients": {}}, "'recipients' must be an array"),
        ({"recipients": []}, "'recipients' must have 1 to 10000 elements"),
        ({"recipients": [{"recipient": f"{each}@x.example", "type": "transactional"} for each in range(10_001)]},
         "'recipients' must have 1 to 10000 elements"),
        ([], "'request body' must be an object"),
    ],
)  # fmt: skip
async def test_many_that_are_wrong(api: Api, body: Any, message: str) -> None:
    """400 in SparkPost's words, only a message, and nothing is taken."""
    answer = await put(api, body)
    assert answer.status == 400
    assert answer.error.startswith(message)
    assert answer.body["errors"][0].keys() == {"message"}
    assert await found(api) == []


@pytest.mark.parametrize(
    ("recipient", "body", "message"),
    [
        ("a@x.example", {}, "Must supply a suppression type"),
        ("a@x.example", {"type": "x"}, TYPE_TEXT),
        ("nobody", {"type": "transactional"}, "Invalid email address: nobody"),
        ("summary", {"type": "transactional"}, "Invalid email address: summary"),
    ],
)
async def test_one_that_is_wrong(api: Api, recipient: str, body: Any, message: str) -> None:
    """Likewise."""
    answer = await put(api, body, f"/{recipient}")
    assert (answer.status, answer.error) == (400, message)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"type":"\\ud800"}', "\x00"])
async def test_a_body_that_is_no_json(api: Api, text: str) -> None:
    """400, of one and of many."""
    for where in ("", "/a@x.example"):
        answer = await api.call("PUT", f"{LIST}{where}", text=text)
        assert answer.status == 400
        assert answer.error.startswith("Request body parsing failed")


@pytest.mark.parametrize(
    "address",
    [
        "a%b@x.example",
        "a?b#c@x.example",
        "o'neil/x@x.example",
        "a%2fb@x.example",
        "böb@bücher.example",
        '"a b"@x.example',
    ],
)
async def test_an_address_of_any_letters(api: Api, address: str) -> None:
    """Escaped once in the path; the list shows how it spells it, and that can be asked for too."""
    assert (await put(api, {"type": "transactional"}, "/" + quote(address, safe=""))).status == 200
    [entry] = await found(api)
    for spelled in (address, address.upper(), entry["recipient"]):
        assert await found(api, "/" + quote(spelled, safe="/@+")) == [entry], spelled
    assert (await api.call("DELETE", f"{LIST}/{quote(address)}")).status == 204


async def test_both_forms_of_a_domain_are_one_entry(api: Api) -> None:
    """Shown as mail servers spell it."""
    forms = ["ann@bücher.example", "ann@xn--bcher-kva.example"]
    for each in forms:
        await put(api, {"type": "transactional", "description": each}, "/" + quote(each))
    [entry] = await found(api)
    assert (entry["recipient"], entry["description"]) == (forms[1], forms[1])
    assert len(await found(api, "/" + quote(forms[0]))) == 1
    assert len(await found(api, "?" + urlencode({"domain": "BÜCHER.example"}))) == 1


async def test_a_removal_of_one_type_or_list(api: Api) -> None:
    """By the body and the query; without them everything of the recipient goes."""
    entry = {"transactional": True, "non_transactional": True}
    for list_id in (None, "news", "offers"):
        await put(api, {**entry, "list_id": list_id}, "/a@x.example")
    assert (await api.call("DELETE", f"{LIST}/a@x.example", body={"type": "transactional"})).status == 204
    assert [each["type"] for each in await found(api, "/a@x.example")] == ["non_transactional"] * 3
    assert (await api.call("DELETE", f"{LIST}/a@x.example?list_id=", text="")).status == 204
    assert [each.get("list_id") for each in await found(api, "/a@x.example")] == ["news", "offers"]
    assert (await api.call("DELETE", f"{LIST}/a@x.example?list_id=news", text="")).status == 204
    assert (await api.call("DELETE", f"{LIST}/a@x.example?list_id=news", text="")).status == 404
    assert (await api.call("DELETE", f"{LIST}/a@x.example?list_id=.", text="")).status == 400
    assert (await api.call("DELETE", f"{LIST}/a@x.example", body={"type": "x"})).error == TYPE_TEXT
    assert (await api.call("DELETE", f"{LIST}/a@x.example", body={})).status == 204
    assert (await api.call("GET", f"{LIST}/a@x.example")).status == 404


async def test_compliance_cannot_be_changed(api: Api) -> None:
    """403 to one; of many it stays as it is, and the others are taken."""
    legal = Saying(0, "a@x.example", "transactional", True, 1, "", COMPLIANCE, "court")
    await api.parts.suppression_list.say([legal])
    answer = await api.call("DELETE", f"{LIST}/a@x.example", text="")
    assert (answer.status, answer.error) == (403, "Recipient could not be removed - Compliance")
    answer = await put(api, {"type": "transactional"}, "/a@x.example")
    assert (answer.status, answer.error) == (403, "Recipient could not be updated - Compliance")
    assert (await put(api, {"type": "non_transactional"}, "/a@x.example")).status == 200
    many = [{"recipient": name, "type": "transactional"} for name in ("a@x.example", "b@x.example")]
    assert (await put(api, {"recipients": many})).status == 200
    assert {(each["recipient"], each["source"]) for each in await found(api, "?types=transactional")} == {
        ("a@x.example", COMPLIANCE),
        ("b@x.example", "Manually Added"),
    }


async def test_whose_list_is_meant(api: Api) -> None:
    """Reads without the header are of all, writes of the primary account; nothing is inherited."""
    for subaccount in ("", "0", "7"):
        await put(api, {"type": "transactional", "description": subaccount}, "/a@x.example", **of(subaccount))
    assert [(each.get("subaccount_id"), each["description"]) for each in await found(api)] == [(None, "0"), ("7", "7")]
    assert [each["description"] for each in await found(api, "", **of("0"))] == ["0"]
    assert [each["description"] for each in await found(api, "", **of("7"))] == ["7"]
    assert (await api.call("GET", f"{LIST}/summary", headers=of("7"))).body["results"]["total"] == 1
    assert (await api.call("DELETE", f"{LIST}/a@x.example", text="")).status == 204
    assert [each["description"] for each in await found(api)] == ["7"]
    assert (await api.call("DELETE", f"{LIST}/a@x.example", text="", headers=of("7"))).status == 204


def of(subaccount: str) -> dict[str, str]:
    """The header."""
    return {"X-MSYS-SUBACCOUNT": subaccount}


async def test_a_subaccounts_key_is_confined(api: Api) -> None:
    """To its own list, whatever it asks for."""
    await put(api, {"type": "transactional"}, "/a@x.example")
    await put(api, {"type": "transactional"}, "/a@x.example", **of("8"))
    own = await api.parts.keys.create("seven", subaccount_id=7)
    for asked in ("0", "8", "", "x"):
        mine = {"Authorization": own, **of(asked)}
        assert await found(api, "", **mine) == []
        assert (await api.call("GET", f"{LIST}/a@x.example", headers=mine)).status == 404
        assert (await api.call("GET", f"{LIST}/a@x.example?types=transactional", headers=mine)).status == 404
        assert (await api.call("DELETE", f"{LIST}/a@x.example", headers=mine)).status == 404
        assert (await api.call("GET", f"{LIST}/summary", headers=mine)).body["results"]["total"] == 0
        assert (await put(api, {"type": "transactional"}, "/mine@x.example", **mine)).status == 200
        assert (
            await put(api, {"recipients": [{"email": "mine@x.example", "type": "transactional"}]}, **mine)
        ).status == 200
        assert [each["subaccount_id"] for each in await found(api, "", **mine)] == ["7"]
        assert (await api.call("DELETE", f"{LIST}/mine@x.example", headers=mine)).status == 204
    assert len(await found(api)) == 2


@pytest.mark.parametrize("grant", ["suppression_list/view", "suppression_list/modify", "webhooks/modify"])
async def test_a_key_does_what_it_was_granted(api: Api, grant: str) -> None:
    """Reading and changing are granted apart."""
    key = {"Authorization": await api.parts.keys.create("some", grants=[grant])}
    await suppress(api, "a@x.example")
    for path in ("", "/summary", "/a@x.example"):
        assert ((await api.call("GET", LIST + path, headers=key)).status == 200) == (grant == "suppression_list/view")
    body = {"type": "transactional", "recipients": [{"email": "a@x.example", "type": "transactional"}]}
    for method, path, status in (("PUT", "", 200), ("PUT", "/a@x.example", 200), ("DELETE", "/a@x.example", 204)):
        answer = await api.call(method, LIST + path, body=body, headers=key)
        assert answer.status == (status if grant == "suppression_list/modify" else 403)


async def test_the_summary(api: Api) -> None:
    """Every source, also those with nothing."""
    assert (await api.call("GET", f"{LIST}/summary")).body == {
        "results": dict.fromkeys(
            (
                "compliance",
                "manually_added",
                "unsubscribe_link",
                "bounce_rule",
                "list_unsubscribe",
                "spam_complaint",
                "total",
            ),
            0,
        )
    }
    await suppress(api, "a@x.example")
    await suppress(api, "b@x.example")
    await put(api, {"type": "transactional"}, "/c@x.example")
    results = (await api.call("GET", f"{LIST}/summary/")).body["results"]
    assert (results["bounce_rule"], results["manually_added"], results["total"]) == (2, 1, 3)


async def test_one_recipients_entries_by_type_and_page(api: Api) -> None:
    """With the parameters of a search."""
    await put(api, {"transactional": True, "non_transactional": True}, "/a@x.example")
    assert [each["type"] for each in await found(api, "/A@x.example?types=transactional")] == ["transactional"]
    answer = await api.call("GET", f"{LIST}/a@x.example?cursor=initial&per_page=1")
    assert (len(answer.body["results"]), answer.body["total_count"]) == (1, 2)
    assert [each["rel"] for each in answer.body["links"]] == ["first", "next"]
    assert (await api.call("GET", f"{LIST}/b@x.example?types=transactional")).status == 404
    assert (await api.call("GET", f"{LIST}/a@x.example?types=x")).error == TYPE_TEXT


async def test_the_documentation_tells_of_every_call(api: Api) -> None:
    """With each parameter of the search."""
    paths = (await api.call("GET", "/openapi.json")).body["paths"]
    operations = paths[LIST]["get"], paths[f"{LIST}/changes"]["get"], paths[f"{LIST}/{{recipient}}"]["delete"]
    names = [{each["name"] for each in operation["parameters"]} for operation in operations]
    assert names[0] == {
        *("from", "to", "domain", "sources", "types", "description", "description_strict", "list_id", "sort"),
        *("cursor", "per_page", "page", "limit", "X-MSYS-SUBACCOUNT"),
    }
    assert names[1:] == [{"since", "X-MSYS-SUBACCOUNT"}, {"list_id", "recipient", "X-MSYS-SUBACCOUNT"}]
