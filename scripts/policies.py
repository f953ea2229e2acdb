"""Write deploy/iam/*.json: the policies that `omni queues create` prints, with placeholders for region and account.

`make docs` runs this; tests/scripts/test_policies.py compares.
"""

import json
import sys
from pathlib import Path

from omni_etl.backends.sqs.policies import policies
from omni_etl.queue import queue_names
from omni_etl.settings import Settings

ARN = "arn:aws:sqs:REGION:ACCOUNT:{prefix}{name}"


def files() -> dict[str, str]:
    """Content by file name, for the prefix and the services that the settings have by themselves."""
    fields = Settings.model_fields
    services = [each.strip() for each in str(fields["services"].default).split(",")]
    prefix = str(fields["sqs_queue_prefix"].default)
    arns = {name: ARN.format(prefix=prefix, name=name) for name in queue_names(services)}
    return {f"{role}.json": json.dumps(policy, indent=2) + "\n" for role, policy in policies(arns).items()}


if __name__ == "__main__":
    for file_name, text in files().items():
        (Path(sys.argv[1]) / file_name).write_text(text, encoding="utf-8")
