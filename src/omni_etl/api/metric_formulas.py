"""Formulas: every metric of the API as a figure over measures (reference: SparkPost, Metrics API, §4.4).

`count_accepted` is less by every out-of-band bounce, Admin ones too: so the vendor's own sample has it. amp_* events count
in no metric. `count_raw_clicked` are messages by link: a recipient's clicks on one link count once.
"""

from __future__ import annotations

from typing import Final

from omni_etl.bounce import CATEGORIES
from omni_etl.reports import Figure

DELIVERED_FIRST: Final = frozenset({"delivered_first"})
DELIVERED_AGAIN: Final = frozenset({"delivered_second", "delivered_third_or_later"})
DELIVERED: Final = DELIVERED_FIRST | DELIVERED_AGAIN
REJECTED: Final = frozenset({"policy_rejection", "generation_failed", "generation_rejection"})
RENDERED: Final = frozenset({"rendered"})
INITIAL_RENDERED: Final = frozenset({"initial_rendered"})
CLICKED: Final = frozenset({"clicked"})
BOUNCED: Final = {each: frozenset({f"bounce_{each}", f"out_of_band_{each}"}) for each in CATEGORIES}
INBAND: Final = frozenset(f"bounce_{each}" for each in CATEGORIES if each != "admin")
OUT_OF_BAND: Final = frozenset(f"out_of_band_{each}" for each in CATEGORIES if each != "admin")


def _prefetched(measures: frozenset[str]) -> frozenset[str]:
    return measures | {f"{each}_prefetched" for each in measures}


_EVENTS: Final[dict[str, frozenset[str]]] = {
    "count_injected": frozenset({"injected"}),
    "count_policy_rejection": frozenset({"policy_rejection"}),
    "count_generation_failed": frozenset({"generation_failed"}),
    "count_generation_rejection": frozenset({"generation_rejection"}),
    "count_rejected": REJECTED,
    "count_targeted": REJECTED | {"injected"},
    "count_delivered": DELIVERED,
    "count_delivered_first": DELIVERED_FIRST,
    "count_delivered_subsequent": DELIVERED_AGAIN,
    "count_inband_bounce": INBAND,
    "count_outofband_bounce": OUT_OF_BAND,
    "count_bounce": INBAND | OUT_OF_BAND,
    "count_hard_bounce": BOUNCED["hard"],
    "count_soft_bounce": BOUNCED["soft"],
    "count_block_bounce": BOUNCED["block"],
    "count_undetermined_bounce": BOUNCED["undetermined"],
    "count_admin_bounce": BOUNCED["admin"],
    "count_sent": DELIVERED | INBAND,
    "count_delayed": frozenset({"delayed_first", "delayed_again"}),
    "count_delayed_first": frozenset({"delayed_first"}),
    "count_rendered": _prefetched(RENDERED),
    "count_initial_rendered": _prefetched(INITIAL_RENDERED),
    "count_clicked": _prefetched(CLICKED),
    "count_nonprefetched_rendered": RENDERED,
    "count_nonprefetched_initial_rendered": INITIAL_RENDERED,
    "count_spam_complaint": frozenset({"spam_complaint"}),
    "count_unsubscribe": frozenset({"unsubscribe"}),
}
_MESSAGES: Final[dict[str, frozenset[str]]] = {
    "count_unique_rendered": _prefetched(RENDERED),
    "count_unique_initial_rendered": _prefetched(INITIAL_RENDERED),
    "count_unique_clicked": _prefetched(CLICKED),
    "count_unique_confirmed_opened": _prefetched(RENDERED | INITIAL_RENDERED | CLICKED),
    "count_nonprefetched_unique_rendered": RENDERED,
    "count_nonprefetched_unique_initial_rendered": INITIAL_RENDERED,
    "count_nonprefetched_unique_confirmed_opened": RENDERED | INITIAL_RENDERED | CLICKED,
    "count_raw_clicked": _prefetched(CLICKED),
}
_APPROXIMATE: Final = (
    "count_unique_clicked", "count_unique_rendered", "count_unique_initial_rendered", "count_unique_confirmed_opened",
    "count_raw_clicked",
)  # fmt: skip
NOTHING: Final = (
    *(
        f"count_{place}_{kind}"
        for place in ("inbox", "spam")
        for kind in ("panel", "seed", "seed_private", "seed_virtual")
    ),
    *("count_moved_to_inbox", "count_moved_to_spam"),
)
"""Of a product that looks into mailboxes: always 0."""

_FIGURES: Final = (
    *(Figure(name, measures) for name, measures in _EVENTS.items()),
    *(Figure(name, measures, of="messages") for name, measures in _MESSAGES.items()),
    Figure("count_accepted", DELIVERED, less=OUT_OF_BAND | {"out_of_band_admin"}),
    Figure("total_delivery_time_first", DELIVERED_FIRST, of="delivery_ms"),
    Figure("total_delivery_time_subsequent", DELIVERED_AGAIN, of="delivery_ms"),
    Figure("total_msg_volume", DELIVERED, of="message_bytes"),
)
FORMULAS: Final[dict[str, Figure]] = {
    **{each.name: each for each in _FIGURES},
    **{f"{name}_approx": Figure(f"{name}_approx", _MESSAGES[name], of="messages") for name in _APPROXIMATE},
}
"""Every metric that is counted, by name; `_approx` are other names."""

OF_LINKS: Final = frozenset({"count_clicked", "count_raw_clicked", "count_raw_clicked_approx"})
OF_BOUNCES: Final = frozenset({"count_bounce", "count_inband_bounce", "count_outofband_bounce", "count_admin_bounce"})
EVERYWHERE: Final = frozenset(FORMULAS.keys() | set(NOTHING)) - {"count_raw_clicked", "count_raw_clicked_approx"}
