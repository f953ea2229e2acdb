"""Least-privilege IAM policies: what each role does with each queue, and nothing else. Batch calls need no names of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from omni_etl.envelope import LANES
from omni_etl.queue import UNREADABLE, dead_letters, siding

LOOK: Final = ("sqs:GetQueueUrl", "sqs:GetQueueAttributes")  # what `open` and `omni status` ask
SEND: Final = ("sqs:SendMessage",)
TAKE: Final = ("sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage")


def policies(arns: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """By role, from the ARN of each of our queues: `hose`, `supervisor`, and `operator` for `omni status` and `omni dead-letters`."""
    lanes = [name for name in arns if name in LANES]
    sidings = [name for name in arns if name.startswith(siding(""))]
    dead = [name for name in arns if name.startswith(dead_letters("")) and name != UNREADABLE]
    unreadable = [name for name in arns if name == UNREADABLE]
    needs: dict[str, dict[str, Collection[str]]] = {
        "hose": {"Look": lanes, "Send": lanes},
        "supervisor": {"Look": list(arns), "Send": [*sidings, *dead, *unreadable], "Take": [*lanes, *sidings]},
        "operator": {"Look": list(arns), "Send": [*sidings, *lanes], "Take": [*dead, *unreadable]},
    }
    actions: dict[str, Sequence[str]] = {"Look": LOOK, "Send": SEND, "Take": TAKE}
    return {
        role: {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": sid,
                    "Effect": "Allow",
                    "Action": list(actions[sid]),
                    "Resource": [arns[each] for each in names],
                }
                for sid, names in need.items()
                if names
            ],
        }
        for role, need in needs.items()
    }
