"""Every setting of Hundi in one frozen class, read from `HUNDI_*` environment variables.

Local defaults run the embedded market as it stands; outside it (`HUNDI_EMBEDDED=false`) the secrets
have no default and a process refuses to start without them. Nothing connects at import.
`HUNDI_PORT_OFFSET` is added to each port, so that several stacks run side by side.
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=1, le=65535)]
EMBEDDED_SECRET = "embedded-default-not-for-production-0123456789"


class Settings(BaseSettings):
    """Durations are seconds unless the name says otherwise; ports are before the offset."""

    model_config = SettingsConfigDict(env_prefix="HUNDI_", frozen=True, extra="ignore")

    embedded: bool = True
    """True: servers come from wheels, demo accounts are seeded, secrets have local defaults."""
    data_dir: Path = Path(".hundi")
    risk_files_dir: Path | None = None
    """Where the exchanges' risk files are put, for whoever margins derivatives; unset: `data_dir`."""
    trade_files_dir: Path | None = None
    """Where the exchanges' trade files are put, to be held against our books; unset: `data_dir`."""
    host: str = "127.0.0.1"
    port_offset: int = Field(default=0, ge=0, le=40000)

    api_port: Port = 8000
    stream_port: Port = 8001
    temporal_port: Port = 7233
    temporal_ui_port: Port = 8233
    postgres_port: Port = 5433
    redis_port: Port = 6380
    fix_port: Port = 9880
    """First FIX port; each exchange takes the next (NSE +0, BSE +1)."""
    feed_port: Port = 9890
    """First UDP feed port; each exchange takes the next."""
    feed_groups: tuple[str, ...] = ()
    """Multicast groups of the feed's A and B lines; none: unicast to `host`. Joined on `host`'s interface."""
    feed_silence_seconds: float = Field(default=3.0, gt=1.0)
    """A feed without a packet for so long is silent (heartbeats come each second): its prices are stale."""

    postgres_url: str | None = None
    redis_url: str | None = None
    temporal_address: str | None = None
    temporal_namespace: str = "default"

    realtime_gateways: int = Field(default=1, ge=1, le=16)
    """Each has its own stream port, the first `stream_port`, the next one higher."""
    realtime_id: str = "realtime-0"
    """Name of this realtime gateway where health and telemetry are kept; unique per process."""
    stream_heartbeat_seconds: float = Field(default=5.0, gt=0)
    """Between two heartbeats of the stream, and between two looks for order updates that nobody published."""
    stream_behind_seconds: float = Field(default=10.0, gt=0)
    """How long a client of the stream may be behind with reading before its connection ends."""

    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose X-Forwarded-For is believed; others stand with their own address."""

    jwt_secret: SecretStr | None = None
    session_hours: int = Field(default=12, ge=1, le=24)

    order_workers: int = Field(default=1, ge=1, le=64)
    worker_id: str = "order-worker-0"
    """Owner name of the intake rows that this order worker claims; unique per process."""
    orders_in_progress_max: int = Field(default=40, ge=1, le=1000)
    """Orders an order worker keeps before the exchange gate at once; the rest wait in the intake."""

    intraday_margin_percent: int = Field(default=20, ge=1, le=100)
    """Of an intraday position's value, either side."""

    exchanges: tuple[str, ...] = ("NSE", "BSE")
    market_seed: int = 20261123
    """Seeds the simulated participants; the same seed gives the same quotes."""
    market_pace: float = Field(default=4.0, ge=0.0, le=20.0)
    """How often a liquid instrument of the simulated market moves in a second (indices, front futures and
    what they stand on); others a tenth as often. 0 leaves the market to orders of clients."""
    market_hours: Literal["always", "calendar"] = "always"
    """`always` keeps the embedded exchange in continuous trading, so that a demo runs at any hour."""

    trace_sample_ratio: float = Field(default=0.1, ge=0.0, le=1.0)
    otlp_endpoint: str | None = None
    """An OTLP/HTTP collector such as http://127.0.0.1:4318; unset, spans and metrics go to the logs."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _secrets_outside_the_embedded_default(self) -> Self:
        if not self.embedded:
            needed = ("jwt_secret", "postgres_url", "redis_url", "temporal_address")
            missing = [f"HUNDI_{name.upper()}" for name in needed if getattr(self, name) is None]
            if missing:
                raise ValueError(f"HUNDI_EMBEDDED=false demands {', '.join(missing)}")
        return self

    def port(self, name: str, index: int = 0) -> int:
        """The port `<name>_port` plus an index (an exchange's place in `exchanges`) plus the offset."""
        base: int = getattr(self, f"{name}_port")
        return base + index + self.port_offset

    @property
    def risk_files(self) -> Path:
        return self.risk_files_dir or self.data_dir

    @property
    def trade_files(self) -> Path:
        return self.trade_files_dir or self.data_dir

    @property
    def postgres_dsn(self) -> str:
        """A libpq URL for psycopg."""
        return self.postgres_url or f"postgresql://hundi@{self.host}:{self.port('postgres')}/hundi"

    @property
    def redis_dsn(self) -> str:
        return self.redis_url or f"redis://{self.host}:{self.port('redis')}/0"

    @property
    def temporal_target(self) -> str:
        return self.temporal_address or f"{self.host}:{self.port('temporal')}"

    @property
    def jwt_key(self) -> str:
        return self.jwt_secret.get_secret_value() if self.jwt_secret else EMBEDDED_SECRET


@lru_cache
def settings() -> Settings:
    """The process's settings, read once.

    Raises SystemExit with one sentence when a variable does not parse or a secret is missing.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(_fault(dict(e)) for e in error.errors())
        raise SystemExit(f"hundi: settings are not usable: {faults}") from error


def _fault(error: dict[str, Any]) -> str:
    name = "_".join(str(part) for part in error["loc"]).upper()
    return f"HUNDI_{name}: {error['msg']}" if name else str(error["msg"])
