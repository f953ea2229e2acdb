"""wiring.stores: the store by its URL."""

import pytest
from tests.wiring.conftest import Make

from omni_etl.errors import SettingsError
from omni_etl.wiring.stores import build_store


def test_no_store_is_refused_with_what_to_do(make_settings: Make) -> None:
    """There is no store by default: the embedded one is `omni up`'s."""
    with pytest.raises(SettingsError, match=r"^OMNI_STORE_URL: found nothing\. .*`omni up`"):
        build_store(make_settings())


@pytest.mark.parametrize("url", ["clickhouse://omni:hunter2@h:9000/omni", "omni:hunter2@h", "http:///omni"])
def test_another_scheme_is_refused_without_its_password(make_settings: Make, url: str) -> None:
    """Only the scheme is repeated."""
    with pytest.raises(SettingsError) as refused:
        build_store(make_settings(store_url=url))
    assert refused.value.setting == "OMNI_STORE_URL"
    assert "http(s)://user:password@host:port/database" in refused.value.fix
    assert "hunter2" not in str(refused.value)


async def test_a_store_that_answers_is_opened(make_settings: Make, store_url: str) -> None:
    """The whole URL counts: user, password, port and database."""
    store = build_store(make_settings(store_url=store_url))
    await store.open()
    assert await store.epoch() is None
    await store.close()
