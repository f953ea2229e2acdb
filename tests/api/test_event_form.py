"""event_form: a stored event as searches show it, whatever it holds."""

from typing import Any

import orjson
import pytest

from omni_etl.api.event_form import moment, rendered, shown, shown_of_old


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"customer_id": "12"}, {"customer_id": 12}),
        ({"customer_id": "acme"}, {"customer_id": "acme"}),
        ({"customer_id": "9" * 30}, {"customer_id": "9" * 30}),
        ({"subaccount_id": "101"}, {"subaccount_id": 101}),
        ({"subaccount_id": ""}, {}),
        ({"subaccount_id": None}, {"subaccount_id": None}),
        ({"outbound_tls": "-1"}, {"outbound_tls": -1}),
        ({"outbound_tls": "--1"}, {"outbound_tls": "--1"}),
        ({"scheduled_time": "1588348800"}, {"scheduled_time": "2020-05-01T16:00:00.000Z"}),
        ({"scheduled_time": "soon"}, {"scheduled_time": "soon"}),
        ({"scheduled_time": "99999999999999"}, {"scheduled_time": "99999999999999"}),
        ({"scheduled_time": ["x"]}, {"scheduled_time": ["x"]}),
        ({"geo_ip": {"latitude": "39.5", "longitude": -76, "zip": "02139"}}, {"geo_ip": {"latitude": 39.5, "longitude": -76, "zip": "02139"}}),
        ({"geo_ip": {"latitude": "north", "zip": "21046"}}, {"geo_ip": {"latitude": "north", "zip": 21046}}),
        ({"geo_ip": "unknown"}, {"geo_ip": "unknown"}),
        ({"num_retries": "2", "rcpt_meta": {"timestamp": "1", "n": 1}}, {"num_retries": "2", "rcpt_meta": {"timestamp": "1", "n": 1}}),
    ],
)  # fmt: skip
def test_a_field_is_shown(stored: dict[str, Any], expected: dict[str, Any]) -> None:
    """As the reference has it; what does not look so is left as it is."""
    event = {"timestamp": "1460989507", **stored}
    assert shown(event) == {"timestamp": "2016-04-18T14:25:07.000Z", **expected}


def test_the_old_form_has_texts() -> None:
    """The time twice, degrees and ids as texts."""
    event = {"timestamp": "1460989507", "customer_id": "1", "geo_ip": {"latitude": 39.25, "longitude": "-76", "zip": 1}}
    assert shown_of_old(event) == {
        "timestamp": "2016-04-18T14:25:07.000Z",
        "tdate": "2016-04-18T14:25:07.000Z",
        "customer_id": "1",
        "geo_ip": {"latitude": "39.25", "longitude": "-76", "zip": 1},
    }


def test_a_line_is_rendered() -> None:
    """JSON again."""
    assert orjson.loads(rendered('{"timestamp":"0","a":"ü"}', shown)) == {
        "timestamp": "1970-01-01T00:00:00.000Z",
        "a": "ü",
    }


def test_milliseconds_are_shown() -> None:
    """Three digits, always."""
    assert moment(1_460_989_507_008) == "2016-04-18T14:25:07.008Z"
    assert moment(4_102_444_800_001) == "2100-01-01T00:00:00.001Z"
