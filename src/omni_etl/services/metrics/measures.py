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
from typing import Final

import msgspec

from omni_etl.bounce import CATEGORIES, category
from omni_etl.event import UserAgentParsed


class CountedFields(msgspec.Struct, gc=False):
    """The fields that counting reads."""

    timestamp: str
    subaccount_id: str | None = None
    recipient_domain: str | None = None
    mailbox_provider: str | None = None
    mailbox_provider_region: str | None = None
    campaign_id: str | None = None
    template_id: str | None = None
    sending_domain: str | None = None
    ip_pool: str | None = None
    sending_ip: str | None = None
    rcpt_to: str | None = None
    friendly_from: str | None = None
    bounce_class: str | None = None
    reason: str | None = None
    target_link_name: str | None = None
    target_link_url: str | None = None
    message_id: str | None = None
    transmission_id: str | None = None
    num_retries: str | None = None
    queue_time: str | None = None
    msg_size: str | None = None
    user_agent_parsed: UserAgentParsed | None = None


DELIVERED: Final = ("delivered_first", "delivered_second", "delivered_third_or_later")
DELAYED: Final = ("delayed_first", "delayed_again", "delayed_again")
BOUNCED: Final = {each: f"bounce_{each}" for each in CATEGORIES}
BOUNCED_OUT_OF_BAND: Final = {each: f"out_of_band_{each}" for each in CATEGORIES}

CLICKED: Final = frozenset({"clicked", "clicked_prefetched"})
ENGAGED: Final = CLICKED | {"rendered", "rendered_prefetched", "initial_rendered", "initial_rendered_prefetched"}
EXPLAINED: Final = frozenset(
    {"policy_rejection", "generation_failed", "generation_rejection", *DELAYED}
    | set(BOUNCED.values())
    | set(BOUNCED_OUT_OF_BAND.values())
)
"""Measures that the reason reports ask for."""

_PLAIN: Final = {
    "injection": "injected",
    "policy_rejection": "policy_rejection",
    "generation_failure": "generation_failed",
    "generation_rejection": "generation_rejection",
    "spam_complaint": "spam_complaint",
    "list_unsubscribe": "unsubscribe",
    "link_unsubscribe": "unsubscribe",
}


def measures(type_name: str, events: Sequence[CountedFields]) -> list[str | None]:
    """What each of these events, all of one type, counts as; None where it counts in the family `type` alone."""
    judge = _JUDGED.get(type_name)
    if judge is None:
        return [_PLAIN.get(type_name)] * len(events)
    return [judge(each) for each in events]


def _attempt(num_retries: str | None) -> int:
    """0, 1 or 2 and more; what is no number counts as the first attempt."""
    if num_retries is None or num_retries in ("", "0"):
        return 0
    if not (num_retries.isascii() and num_retries.isdigit()):
        return 0
    digits = num_retries.lstrip("0")
    return 2 if digits > "1" else len(digits)


def _judge_engagement(measure: str) -> Callable[[CountedFields], str]:
    prefetched = f"{measure}_prefetched"

    def judge(event: CountedFields) -> str:
        agent = event.user_agent_parsed
        return prefetched if agent is not None and agent.is_prefetched else measure

    return judge


_JUDGED: Final[dict[str, Callable[[CountedFields], str]]] = {
    "delivery": lambda event: DELIVERED[_attempt(event.num_retries)],
    "delay": lambda event: DELAYED[_attempt(event.num_retries)],
    "bounce": lambda event: BOUNCED[category(event.bounce_class)],
    "out_of_band": lambda event: BOUNCED_OUT_OF_BAND[category(event.bounce_class)],
    "open": _judge_engagement("rendered"),
    "initial_open": _judge_engagement("initial_rendered"),
    "click": _judge_engagement("clicked"),
}
