"""The demo's SQS: moto's server on a loopback port, for whoever has no account at hand. It forgets with its process."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Final

from omni_etl.errors import SettingsError

REGION: Final = "us-east-1"
CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo"}  # moto takes any
MODULES: Final = ("moto", "flask", "flask_cors")


def server_url(port: int) -> str:
    """Where it listens."""
    return f"http://127.0.0.1:{port}"


def server_command(port: int) -> list[str]:
    """The arguments that start it.

    Raises:
        SettingsError: moto is not installed: it is for development, not for real use.

    """
    if not all(find_spec(name) for name in MODULES):
        fix = "Run `pip install moto flask flask-cors`, or name a server that speaks SQS's protocol."
        raise SettingsError("OMNI_SQS_ENDPOINT_URL", "nothing, and no moto to start instead", fix)
    return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
