"""backends.sqs.policies: each role may do what it does, and nothing else."""

from fnmatch import fnmatch

from omni_etl.backends.sqs.policies import policies
from omni_etl.queue import queue_names

ARNS = {name: f"arn:aws:sqs:eu-west-1:1:omni-{name}" for name in queue_names(["metrics", "webhooks"])}
LOOK = {"sqs:GetQueueUrl", "sqs:GetQueueAttributes"}
TAKE = {"sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage"}


def allowed(role: str, name: str) -> set[str]:
    """What a role may do with a queue."""
    statements = policies(ARNS)[role]["Statement"]
    return {action for each in statements if ARNS[name] in each["Resource"] for action in each["Action"]}


def test_each_role_may_do_what_it_does() -> None:
    """A hose only sends into lanes; who takes from lanes and sidings cannot empty dead letters."""
    rows = {
        "hose": {"express": LOOK | {"sqs:SendMessage"}, "siding-metrics": set(), "dead-metrics": set()},
        "supervisor": {
            "bulk": LOOK | TAKE,
            "siding-webhooks": LOOK | TAKE | {"sqs:SendMessage"},
            "dead-webhooks": LOOK | {"sqs:SendMessage"},
            "dead-unreadable": LOOK | {"sqs:SendMessage"},
        },
        "operator": {
            "bulk": LOOK | {"sqs:SendMessage"},  # where `omni dead-letters redrive unreadable` puts them back
            "siding-metrics": LOOK | {"sqs:SendMessage"},
            "dead-metrics": LOOK | TAKE,
            "dead-unreadable": LOOK | TAKE,
        },
    }
    for role, names in rows.items():
        assert {name: allowed(role, name) for name in names} == names


def test_nothing_is_allowed_by_pattern() -> None:
    """No stars, neither in actions nor in resources; and no statement without a resource, which IAM refuses."""
    statements = [each for policy in policies(ARNS).values() for each in policy["Statement"]]
    assert all(each["Resource"] and each["Effect"] == "Allow" for each in statements)
    assert not any(fnmatch(text, "*[*]*") for each in statements for text in [*each["Action"], *each["Resource"]])
    assert policies({})["hose"]["Statement"] == []
