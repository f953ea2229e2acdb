"""event_documentation: every type, every field, and samples that are events; without a key."""

import re

import orjson
import pytest
from tests.api.server import Api

from omni_etl import event
from omni_etl.api.event_documentation import documented
from omni_etl.api.event_query import MESSAGE_TYPES
from omni_etl.event import GROUPS, TYPES

WEBHOOKS = "/api/v1/webhooks/events"
SEARCHES = ["/api/v1/events/message", "/api/v1/message-events/events"]
NOBODY = {"Authorization": ""}


def test_every_type_is_documented() -> None:
    """In the groups that intake knows, in their order."""
    assert list(documented()) == [name for names in GROUPS.values() for name in names]


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_sample_is_an_event(name: str) -> None:
    """Intake takes it as it stands: strings where webhooks have strings."""
    sample = orjson.dumps(documented()[name].sample)
    checked = event.check(sample)
    assert checked is not None
    assert (checked.type, checked.line) == (name, sample)


async def test_webhooks_are_documented_by_group(api: Api) -> None:
    """Groups, their types, and the fields of these with a sample."""
    answer = await api.call("GET", f"{WEBHOOKS}/documentation", headers=NOBODY)
    assert answer.status == 200
    assert list(answer.body["results"]) == list(GROUPS)
    bounce = answer.body["results"]["message_event"]["events"]["bounce"]
    assert (bounce["display_name"], bounce["event"]["type"]["sampleValue"]) == ("Bounce", "bounce")
    assert bounce["event"]["bounce_class"] == {
        "description": "Class of the reply, see the bounce classification",
        "sampleValue": "1",
    }
    assert "ab_test_id" not in bounce["event"]


async def test_samples_of_webhooks_are_wrapped(api: Api) -> None:
    """As they come; all of them, or those that are named."""
    answer = await api.call("GET", f"{WEBHOOKS}/samples", headers=NOBODY)
    assert len(answer.body["results"]) == len(TYPES)
    answer = await api.call("GET", f"{WEBHOOKS}/samples?events=open,bounce", headers=NOBODY)
    assert [list(each["msys"]) for each in answer.body["results"]] == [["message_event"], ["track_event"]]
    assert answer.body["results"][0]["msys"]["message_event"]["timestamp"] == "1460989507"


@pytest.mark.parametrize("path", SEARCHES)
async def test_searches_are_documented_in_a_row(api: Api, path: str) -> None:
    """One object a type, with what the type is called; samples in the same order, in the form of searches."""
    documentation = await api.call("GET", f"{path}/documentation", headers=NOBODY)
    samples = await api.call("GET", f"{path}/samples", headers=NOBODY)
    names = [each["type"]["sampleValue"] for each in documentation.body["results"]]
    assert names == [each["type"] for each in samples.body["results"]]
    assert set(names) == MESSAGE_TYPES
    for said, sample in zip(documentation.body["results"], samples.body["results"], strict=True):
        assert {name: each["sampleValue"] for name, each in said.items() if name in sample} == sample
        assert said.keys() - sample.keys() == {"display_name", "event_description"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", sample["timestamp"])
        assert sample["customer_id"] == 1


@pytest.mark.parametrize("path", [WEBHOOKS, *SEARCHES])
async def test_an_unknown_type_is_said(api: Api, path: str) -> None:
    """400; one that is known comes alone."""
    answer = await api.call("GET", f"{path}/samples?events=nothing", headers=NOBODY)
    assert (answer.status, answer.error) == (400, "events holds unknown types: nothing")
    assert len((await api.call("GET", f"{path}/samples?events[]=bounce", headers=NOBODY)).body["results"]) == 1
