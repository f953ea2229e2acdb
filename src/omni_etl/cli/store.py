"""`omni store`: the embedded ClickHouse as a process."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote, urlsplit

from omni_etl.embedded.store_host import StoreHost
from omni_etl.errors import SettingsError
from omni_etl.settings import Settings


async def serve(settings: Settings, stop: asyncio.Event) -> int:
    """Host the data directory until `stop`; the password is the one in OMNI_STORE_URL, where clients read it too."""
    password = urlsplit(settings.store_url.get_secret_value()).password
    if not password:
        raise SettingsError(
            "OMNI_STORE_URL",
            "no password",
            f"Name this host with one: http://default:PASSWORD@{settings.store_host}:{settings.store_port}/default.",
        )
    host = StoreHost(
        settings.data_dir / "store", password=unquote(password), host=settings.store_host, port=settings.store_port
    )
    await host.start()
    await stop.wait()
    await host.stop()
    return 0
