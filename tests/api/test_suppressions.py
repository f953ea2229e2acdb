"""suppressions: whether an address may be mailed."""

from tests.api.server import Api

from omni_etl.suppression_list import Saying, SuppressionType

ANN = "ann+news/eu@example.com"


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
    """The member that is wrong is named."""
    for subaccount in ("-1", "one", "2147483648", "99999999999999999999"):
        answer = await api.call("GET", f"/api/v1/suppression-list/{ANN}", headers={"X-MSYS-SUBACCOUNT": subaccount})
        assert answer.status == 400, subaccount
        assert answer.error.lower().startswith("'x-msys-subaccount'")
