"""Measures: what one event counts as. The metrics of the API are sums of these (reference: SparkPost, Metrics API).

| metric | measures |
| --- | --- |
| count_injected | injected |
| count_rejected | policy_rejection, generation_failed, generation_rejection (each also a metric) |
| count_targeted | count_injected + count_rejected |
| count_delivered_first, _subsequent | delivered_first; delivered_second, delivered_third_or_later |
| total_delivery_time_first, _subsequent | the same, sum of delivery_ms |
| total_msg_volume | all deliveries, sum of message_bytes |
| count_inband_bounce, count_outofband_bounce | bounce_*, out_of_band_* without `_admin` |
| count_hard_bounce and so on | bounce_hard, out_of_band_hard and so on |
| count_delayed, count_delayed_first | delayed_first, delayed_again; delayed_first |
| count_rendered, count_initial_rendered, count_clicked | rendered, initial_rendered, clicked, each with its *_prefetched |
| count_nonprefetched_* | the same without *_prefetched |
| count_unique_* | distinct messages over the same measures; confirmed_opened: all six |
| count_spam_complaint, count_unsubscribe | spam_complaint, unsubscribe |

amp_*, relay_*, ab_test_*, ingest and sms events count in the family `type` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from omni_etl.bounce import CATEGORIES, category
from omni_etl.event import UserAgentParsed


class CountedFields(msgspec.Struct, gc=False):
    """The fields that every event is counted by; the types below add what only they are asked for."""

    timestamp: str
    subaccount_id: str | None = None
    rcpt_to: str | None = None
    friendly_from: str | None = None
    recipient_domain: str | None = None
    mailbox_provider: str | None = None
    mailbox_provider_region: str | None = None
    campaign_id: str | None = None
    template_id: str | None = None
    sending_domain: str | None = None
    ip_pool: str | None = None
    sending_ip: str | None = None


class DeliveryFields(CountedFields, gc=False):
    """What deliveries add up."""

    num_retries: str | None = None
    queue_time: str | None = None
    msg_size: str | None = None


class FailureFields(CountedFields, gc=False):
    """What the reports by reason ask for."""

    num_retries: str | None = None
    bounce_class: str | None = None
    reason: str | None = None


class EngagementFields(CountedFields, gc=False):
    """What tells messages, links and prefetching apart."""

    message_id: str | None = None
    transmission_id: str | None = None
    target_link_name: str | None = None
    target_link_url: str | None = None
    user_agent_parsed: UserAgentParsed | None = None


FIELDS: Final[dict[str, type[CountedFields]]] = {
    "delivery": DeliveryFields,
    **dict.fromkeys(
        ("policy_rejection", "generation_failure", "generation_rejection", "delay", "bounce", "out_of_band"),
        FailureFields,
    ),
    **dict.fromkeys(("open", "initial_open", "click"), EngagementFields),
}
"""The fields of an event type; `CountedFields` where it is not named."""

DELIVERED: Final = ("delivered_first", "delivered_second", "delivered_third_or_later")
DELAYED: Final = ("delayed_first", "delayed_again", "delayed_again")
BOUNCED: Final = {each: f"bounce_{each}" for each in CATEGORIES}
BOUNCED_OUT_OF_BAND: Final = {each: f"out_of_band_{each}" for each in CATEGORIES}

_PLAIN: Final = {
    "injection": "injected",
    "policy_rejection": "policy_rejection",
    "generation_failure": "generation_failed",
    "generation_rejection": "generation_rejection",
    "spam_complaint": "spam_complaint",
    "list_unsubscribe": "unsubscribe",
    "link_unsubscribe": "unsubscribe",
}


ENGAGED: Final = {"open": "rendered", "initial_open": "initial_rendered", "click": "clicked"}
PREFETCHED: Final = {each: f"{each}_prefetched" for each in ENGAGED.values()}

MEASURES: Final = (
    *dict.fromkeys((*_PLAIN.values(), *DELIVERED, *DELAYED)),
    *(*BOUNCED.values(), *BOUNCED_OUT_OF_BAND.values()),
    *(*ENGAGED.values(), *PREFETCHED.values()),
)


def measures(type_name: str, events: Sequence[CountedFields]) -> list[str | None]:
    """What each of these events, all of one type, counts as; None where it counts in the family `type` alone."""
    if type_name not in _JUDGED:
        return [_PLAIN.get(type_name)] * len(events)
    field, judge = _JUDGED[type_name]
    values = list(map(attrgetter(field), events))
    verdicts = {each: judge(each) for each in set(values)}  # few values, many events
    return [verdicts[each] for each in values]


def _attempt(num_retries: str | None) -> int:
    """0, 1 or 2 and more; what is no number counts as the first attempt."""
    if num_retries is None or num_retries in ("", "0"):
        return 0
    if not (num_retries.isascii() and num_retries.isdigit()):
        return 0
    digits = num_retries.lstrip("0")
    return 2 if digits > "1" else len(digits)


def _judge_engagement(measure: str) -> Callable[[UserAgentParsed | None], str]:
    return lambda agent: PREFETCHED[measure] if agent is not None and agent.is_prefetched else measure


_JUDGED: Final[dict[str, tuple[str, Callable[[Any], str]]]] = {
    "delivery": ("num_retries", lambda text: DELIVERED[_attempt(text)]),
    "delay": ("num_retries", lambda text: DELAYED[_attempt(text)]),
    "bounce": ("bounce_class", lambda text: BOUNCED[category(text)]),
    "out_of_band": ("bounce_class", lambda text: BOUNCED_OUT_OF_BAND[category(text)]),
    **{name: ("user_agent_parsed", _judge_engagement(measure)) for name, measure in ENGAGED.items()},
}
