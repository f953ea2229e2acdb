"""wiring.queues: which queue settings name, and what is refused in words."""

import subprocess
import sys

import pytest
from tests.wiring.conftest import Make

from omni_etl.backends.database import DatabaseQueue
from omni_etl.backends.sqs import SqsQueue
from omni_etl.clock import SystemClock
from omni_etl.errors import SettingsError
from omni_etl.wiring.queues import build_provisioner, build_queue

CLOCK = SystemClock()
IMPORTS = """
import sys
from omni_etl.settings import load
from omni_etl.wiring.hose import build_hose
build_hose(load(queue_url=sys.argv[1], sqs_region="eu-west-1"))
print(*sorted({"sqlalchemy", "botocore"} & set(sys.modules)))
"""


def test_the_scheme_decides(make_settings: Make) -> None:
    """Nothing named is a file; sqs:// is SQS, with a smaller room where payloads travel in the body."""
    assert isinstance(build_queue(make_settings(), CLOCK), DatabaseQueue)
    queues = {
        form: build_queue(make_settings(queue_url="sqs://", sqs_payload=form), CLOCK) for form in ("attribute", "body")
    }
    assert all(isinstance(each, SqsQueue) for each in queues.values())
    assert queues["body"].limits.entry_bytes_max == queues["attribute"].limits.entry_bytes_max * 3 // 4


@pytest.mark.parametrize("build", [build_queue, build_provisioner])
def test_what_follows_sqs_is_refused(make_settings: Make, build: object) -> None:
    """Region and prefix have settings of their own; what was typed may hold a secret."""
    assert callable(build)
    with pytest.raises(SettingsError) as refused:
        build(make_settings(queue_url="sqs://key:hunter2@eu-west-1"), CLOCK)
    assert refused.value.setting == "OMNI_QUEUE_URL"
    assert "OMNI_SQS_REGION" in refused.value.fix
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(("url", "found"), [("", "nothing"), ("sqlite:///q?hunter2", "the scheme 'sqlite'")])
def test_only_sqs_queues_need_making(make_settings: Make, url: str, found: str) -> None:
    """A database makes its own."""
    with pytest.raises(SettingsError) as refused:
        build_provisioner(make_settings(queue_url=url), CLOCK)
    assert (refused.value.setting, refused.value.found) == ("OMNI_QUEUE_URL", found)


@pytest.mark.parametrize(("url", "imported"), [("sqs://", "botocore"), ("", "sqlalchemy")])
def test_a_hose_imports_only_the_kind_it_uses(url: str, imported: str) -> None:
    """It lives beside a mail server, and each kind is tens of megabytes."""
    run = subprocess.run([sys.executable, "-c", IMPORTS, url], check=True, capture_output=True, text=True)
    assert run.stdout.split() == [imported]
