"""embedded.sqs_server: what the demo starts where nobody has an account."""

from collections.abc import Callable
from importlib.util import find_spec

import pytest

from omni_etl.embedded import sqs_server
from omni_etl.embedded.sqs_server import server_command, server_url
from omni_etl.errors import SettingsError


def test_it_listens_on_loopback_alone() -> None:
    """It lets everybody in."""
    command = server_command(4711)
    assert command[1:] == ["-m", "moto.server", "-H", "127.0.0.1", "-p", "4711"]
    assert server_url(4711) == "http://127.0.0.1:4711"


@pytest.mark.parametrize("missing", sqs_server.MODULES)
def test_without_moto_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Moto is for development: whoever installed the package alone has none."""
    real: Callable[[str], object] = find_spec
    monkeypatch.setattr(sqs_server, "find_spec", lambda name: None if name == missing else real(name))
    with pytest.raises(SettingsError, match=r"^OMNI_SQS_ENDPOINT_URL: .*pip install moto flask flask-cors"):
        server_command(4711)
