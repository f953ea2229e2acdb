"""Every setting: name, type, default, unit, one sentence. From `OMNI_*` or `omni.toml`; the docs are made from this."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from omni_etl.errors import SettingsError

MIB: Final = 1024 * 1024
MINUTE_SECONDS: Final = 60
DAY_SECONDS: Final = 86_400
PREFIX: Final = "OMNI_"


class Settings(BaseSettings):
    """All settings of all roles; each role reads the ones it needs, through `wiring`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, toml_file="omni.toml", extra="forbid", frozen=True)

    # Where things are
    data_dir: Path = Field(
        Path("omni-data"), description="Directory of everything that embedded engines and the hose keep."
    )
    queue_url: SecretStr = Field(
        SecretStr(""),
        description="The queue: `postgresql://user:password@host:port/name`, `sqs://`, or `sqlite:///path` "
        "(or empty: a file in the data directory).",
    )
    sqs_endpoint_url: SecretStr = Field(
        SecretStr(""),
        description="SQS elsewhere than at AWS: `http(s)://host:port` of a server that speaks its protocol.",
    )
    sqs_region: str = Field(
        "", description="Region of the SQS queues; empty: what the AWS environment or profile says."
    )
    sqs_queue_prefix: str = Field(
        "omni-", pattern="^[A-Za-z0-9_-]{0,40}$", description="What the names of the SQS queues begin with."
    )
    sqs_payload: Literal["attribute", "body"] = Field(
        "attribute",
        description="Where payloads travel in SQS messages: a Binary `attribute`, or the `body` as base64, a third larger.",
    )
    tracker_url: SecretStr = Field(SecretStr(""), description="Redis or Valkey: `redis://…`, `rediss://…`, `unix://…`.")
    store_url: SecretStr = Field(
        SecretStr(""), description="ClickHouse over HTTP: `http(s)://user:password@host:port/database`."
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="The database: `postgresql://user:password@host:port/name`, or `sqlite:///directory` "
        "(or empty: files in the data directory).",
    )
    secrets_key: SecretStr = Field(
        SecretStr(""),
        description="What seals the secrets of webhooks in the database: 32 bytes in base64, the same for every role, and "
        "behind a comma former ones that still open. Empty: the file `secrets.key` in the data directory; "
        "not with PostgreSQL.",
    )

    # Hose
    hose_host: str = Field("127.0.0.1", description="Address the hose listens on.")
    hose_port: int = Field(8125, ge=0, le=65535, description="Port the hose listens on; 0 takes a free one.")
    spool_dir: Path | None = Field(
        None, description="Where the hose keeps what it accepted; default `hose` in the data directory."
    )
    spool_bytes_max: int = Field(
        4096 * MIB, ge=MIB, description="Bytes the spool may hold before the hose answers 503."
    )
    spool_segment_bytes: int = Field(
        32 * MIB, ge=64 * 1024, description="Bytes after which a new spool segment begins."
    )
    intake_body_bytes_max: int = Field(16 * MIB, ge=1024, description="Bytes of a request body as sent; more is 413.")
    intake_raw_bytes_max: int = Field(
        32 * MIB, ge=1024, description="Bytes of a request body uncompressed; more is 413."
    )
    intake_waiting_bytes_max: int = Field(
        16 * MIB, ge=1024, description="Bytes of accepted lines waiting for their fsync; more is 503."
    )
    intake_uncut_bytes_max: int = Field(
        32 * MIB, ge=1024, description="Bytes of accepted lines waiting for their envelope; more is 503."
    )
    event_age_days_max: int = Field(
        30,
        ge=0,
        description="Days after which an event is too old to be taken, imports (`omni send --old`) aside; 0: never.",
    )
    requests_count_max: int = Field(1_000_000, ge=0, description="Requests remembered to recognise a repetition.")
    requests_age_seconds_max: int = Field(86_400, ge=0, description="Seconds for which a request is remembered.")
    envelope_bytes: int = Field(
        256 * 1024, ge=1024, le=MIB, description="Bytes at which an envelope is cut, as AWS counts them."
    )
    envelope_events_max: int = Field(20_000, ge=1, description="Events at which an envelope is cut.")
    bulk_age_seconds: float = Field(1.0, gt=0, description="Seconds after which a bulk envelope is cut however small.")
    express_age_seconds: float = Field(0.2, gt=0, description="The same for express, when busy.")
    express_age_idle_seconds: float = Field(
        0.25, gt=0, description="The same for express, below `express_busy_events_per_second`."
    )
    express_busy_events_per_second: float = Field(
        10.0, ge=0, description="Suppressing events a second from which express counts as busy."
    )
    heartbeat_seconds: float = Field(
        60.0, gt=0, description="Seconds of quiet after which the hose cuts an empty envelope."
    )
    sends_in_flight_max: int = Field(8, ge=1, description="Send calls to the queue at the same time.")

    # Supervisor and children
    services: str = Field(
        "metrics,message_events,suppressions,webhooks",
        description="Services this parent runs, by the names of their entry points, comma separated.",
    )
    lease_seconds: int = Field(
        30, ge=10, le=43_200, description="Seconds for which the parent takes an envelope; renewed at a third."
    )
    leases_max: int = Field(64, ge=1, description="Envelopes the parent holds at the same time.")
    child_slots: int = Field(
        12,
        ge=2,
        description="Envelopes handed to a child at the same time, so that it can insert several together; "
        "one slot is for express.",
    )
    wait_beyond_others_seconds: float = Field(
        60.0, ge=0, description="Seconds an envelope waits for one service beyond the others, then its siding."
    )
    applications_max: int = Field(
        5, ge=1, description="Failed applications by one service after which an envelope is its dead letter."
    )
    dead_share_max: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of a minute's envelopes set aside as dead from which the circuit opens instead.",
    )
    dead_count_min: int = Field(
        3, ge=1, description="Dead letters a minute that are always allowed, whatever their share."
    )
    circuit_wait_seconds_max: float = Field(
        15.0, gt=0, description="Longest pause between probes of a service whose circuit is open."
    )
    stop_seconds_max: float = Field(
        20.0, gt=0, description="Seconds a stopping process may take before it gives everything back and goes."
    )

    audit_seconds: float = Field(
        300.0, ge=0, description="Seconds between two audits, each by one of all parents; 0: none but by `omni audit`."
    )
    audit_window_hours: int = Field(
        24, ge=2, le=60 * 24, description="Hours back to which they look; an alarm ends when what it is about is older."
    )

    # Webhooks
    webhooks_timeout_seconds: float = Field(
        10.0, gt=0, description="Total seconds of one attempt, answer included (SparkPost: 10)."
    )
    webhooks_in_flight_max: int = Field(256, ge=1, description="Attempts at the same time, for all webhooks together.")
    webhooks_in_flight_each_max: int = Field(
        32, ge=1, description="Attempts at the same time for one webhook; it begins with one and earns the others."
    )
    webhooks_close_seconds: float = Field(
        1.0, ge=0, description="For how long an event waits for others, so that they share a batch."
    )
    webhooks_backlog_bytes_max: int = Field(
        20 * 2**30,
        ge=1,
        description="Compressed bytes that may wait for one webhook; beyond that its oldest batches are dropped, and counted.",
    )
    webhooks_backlog_days_max: float = Field(
        7.0, gt=0, description="Age at which a batch that still waits is dropped, and counted."
    )
    webhooks_allow_networks: str = Field(
        "", description="Networks webhooks may reach although not globally routable, at any port, comma separated CIDR."
    )
    webhooks_allow_ports: str = Field(
        "", description="Ports webhooks may reach besides 80 and 443, comma separated: `8443,9000-9100`."
    )

    # API
    api_host: str = Field("127.0.0.1", description="Address the API listens on.")
    api_port: int = Field(8126, ge=0, le=65535, description="Port the API listens on; 0 takes a free one.")
    api_tls_cert: Path | None = Field(
        None, description="File of the certificate with which the API speaks TLS (PEM, with its chain)."
    )
    api_tls_key: Path | None = Field(
        None, description="File of that certificate's key; empty where the certificate's own file holds it."
    )
    api_requests_per_second: float = Field(
        0.0,
        ge=0,
        description="Requests a second that one key may make of one API process, the suppression list aside; 0: any number.",
    )
    api_requests_burst: int = Field(100, ge=1, description="Requests one key may make at once before that counts.")
    hose_url: SecretStr = Field(
        SecretStr("http://127.0.0.1:8125"),
        description="The hose to which the API forwards events from `/api/v1/ingest/events`: `http(s)://host:port`.",
    )

    # Store
    store_host: str = Field("127.0.0.1", description="Address the embedded store listens on.")
    store_port: int = Field(8127, ge=0, le=65535, description="Port the embedded store listens on; 0 takes a free one.")
    store_gather_seconds: float = Field(
        0.25,
        ge=0,
        le=5,
        description="Seconds for which an envelope waits for others before it is inserted: few, large inserts cost less.",
    )
    retention_events_days: int = Field(
        10,
        ge=7,
        le=36_500,
        description="Days for which the store keeps events, after the day on which they were cut into envelopes.",
    )
    retention_minutes_days: int = Field(
        31,
        ge=7,
        le=36_500,
        description="Days for which it keeps metrics by the minute, and with them all their dimensions.",
    )
    retention_hours_days: int = Field(
        731,
        ge=7,
        le=36_500,
        description="Days for which it keeps metrics by the hour; at least as long as by the minute.",
    )
    store_timeout_seconds: float = Field(60.0, gt=0, description="Seconds after which a store call counts as failed.")

    # Seen from outside
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Least level of log lines.")
    log_format: str = Field(
        "auto", pattern="^(auto|json|console)$", description="`json`, `console`, or by whether stderr is a terminal."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 pydantic's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over `omni.toml`."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def service_names(self) -> list[str]:
        """The services this parent runs."""
        return [name.strip() for name in self.services.split(",") if name.strip()]

    @property
    def spool_path(self) -> Path:
        """Where the hose keeps what it accepted."""
        return self.spool_dir or self.data_dir / "hose"


SECRET_FIELDS: Final = frozenset(name for name, field in Settings.model_fields.items() if field.annotation is SecretStr)


def load(**overrides: object) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: names the first setting that is wrong.

    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic judges the values
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        found = "a value that is not shown" if field in SECRET_FIELDS else repr(first.get("input"))
        raise SettingsError(name, found, f"{first['msg']}.") from None


def environment(settings: Settings) -> dict[str, str]:
    """The settings that differ from their defaults, as environment variables for a child process."""
    changed: dict[str, str] = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if value is not None:
            changed[PREFIX + name.upper()] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return changed
