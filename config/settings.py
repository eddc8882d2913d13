"""Every setting of Hundi in one frozen class, read from `HUNDI_*` environment variables.

Local defaults run the embedded market as it stands, on loopback, with secrets of its data directory's own
(config/secrets.py). Outside it (`HUNDI_EMBEDDED=false`) a process refuses to start without the secrets it
needs, each of a value that nobody guesses. Nothing connects at import.
`HUNDI_PORT_OFFSET` is added to each port, so that several stacks run side by side.
"""

import ipaddress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.secrets import EmbeddedSecrets, embedded_secrets, weakness

Port = Annotated[int, Field(ge=1, le=65535)]
Origin = Annotated[str, Field(pattern=r"^https?://[a-z0-9.\-]+(:[0-9]{1,5})?$")]
_URLS = ("postgres_url", "postgres_owner_url", "redis_url")
_SECRETS = ("jwt_secret", "fix_secret")


class Settings(BaseSettings):
    """Durations are seconds unless the name says otherwise; ports are before the offset."""

    model_config = SettingsConfigDict(
        env_prefix="HUNDI_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    embedded: bool = True
    """True: servers come from wheels, demo accounts are seeded, secrets are made for the data directory."""
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

    postgres_url: str | None = Field(default=None, repr=False)
    """Of the application's role: what every process but `migrate` and `seed` connects as."""
    postgres_owner_url: str | None = Field(default=None, repr=False)
    """Of the role that owns the tables, for `migrate` and `seed` alone."""
    redis_url: str | None = Field(default=None, repr=False)
    """With user and password."""
    temporal_address: str | None = None
    temporal_namespace: str = "default"
    """Of orders alone: what support looks through."""
    temporal_operations_namespace: str = "operations"
    """Of what is done by the clock or for the risk desk: reconciliation, square-off, winding down."""

    realtime_gateways: int = Field(default=1, ge=1, le=16)
    """Each has its own stream port, the first `stream_port`, the next one higher."""
    realtime_id: str = "realtime-0"
    """Name of this realtime gateway where health and telemetry are kept; unique per process."""
    stream_heartbeat_seconds: float = Field(default=5.0, gt=0)
    """Between two heartbeats of the stream, and between two looks for order updates that nobody published."""
    stream_behind_seconds: float = Field(default=10.0, gt=0)
    """How long a client of the stream may be behind with reading before its connection ends."""

    connections: int = Field(default=10_000, ge=1)
    """Of clients, at the API and at each stream gateway; never more than the process may open files."""
    connections_per_address: int = Field(default=500, ge=1)
    """The same of one client's address. Raise it where many clients share one without `trusted_proxies`."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose X-Forwarded-For is believed; others stand with their own address."""

    cors_origins: tuple[Origin, ...] = ()
    """Whose pages may use the API in a browser, exactly: `["https://trade.example"]`; nobody's by default."""

    jwt_secret: SecretStr | None = None
    fix_secret: SecretStr | None = None
    """Shared with the exchange: a FIX logon proves that it knows it."""
    session_hours: int = Field(default=12, ge=1, le=24)

    order_workers: int = Field(default=1, ge=1, le=64)
    worker_id: str = "order-worker-0"
    """Owner name of the intake rows that this order worker claims; unique per process."""
    orders_in_progress_max: int = Field(default=40, ge=1, le=1000)
    """Orders an order worker keeps before the exchange gate at once; the rest wait in the intake."""

    intraday_margin_percent: int = Field(default=20, ge=1, le=100)
    """Of an intraday position's value, either side."""

    release_minutes: int = Field(default=10, ge=1, le=60)
    """Within which a second person of the risk desk confirms the release of a market-wide or segment stop."""

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
    def _embedded_on_loopback_only(self) -> Self:
        if self.embedded and not _is_loopback(self.host):
            raise ValueError(
                f"HUNDI_HOST={self.host} is open to others and the embedded market is for this machine "
                "alone: keep 127.0.0.1, or set HUNDI_EMBEDDED=false and secrets of your own"
            )
        return self

    @model_validator(mode="after")
    def _secrets_are_secret(self) -> Self:
        for name in _SECRETS:
            given: SecretStr | None = getattr(self, name)
            if given is not None and (fault := weakness(given.get_secret_value())):
                raise ValueError(f"HUNDI_{name.upper()} {fault}")
        for name in () if self.embedded else _URLS:
            url: str | None = getattr(self, name)
            if url is not None and (fault := weakness(unquote(urlsplit(url).password or ""))):
                raise ValueError(f"HUNDI_{name.upper()}: its password {fault}")
        return self

    def require(self, *names: str) -> Self:
        """These settings, by which a process says what it cannot do without outside the embedded default.

        Raises SystemExit with one sentence that names the first that is missing.
        """
        for name in names:
            if not self.embedded and getattr(self, name) is None:
                raise SystemExit(
                    f"hundi: settings are not usable: HUNDI_EMBEDDED=false demands HUNDI_{name.upper()}"
                )
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
    def secrets(self) -> EmbeddedSecrets:
        """Of the embedded default's data directory; made when nobody has made them yet."""
        return embedded_secrets(self.data_dir.absolute())

    @property
    def postgres_dsn(self) -> str:
        """A libpq URL for psycopg, in the application's role."""
        given = self.require("postgres_url").postgres_url
        return given or self._postgres("hundi_app", self.secrets.postgres_application)

    @property
    def postgres_owner_dsn(self) -> str:
        """In the role that owns the tables."""
        given = self.require("postgres_owner_url").postgres_owner_url
        return given or self._postgres("hundi", self.secrets.postgres_owner)

    @property
    def redis_dsn(self) -> str:
        given = self.require("redis_url").redis_url
        return given or self._redis("hundi", self.secrets.redis_application)

    def _postgres(self, role: str, password: str) -> str:
        return f"postgresql://{role}:{password}@{self.host}:{self.port('postgres')}/hundi"

    def _redis(self, user: str, password: str) -> str:
        return f"redis://{user}:{password}@{self.host}:{self.port('redis')}/0"

    @property
    def temporal_target(self) -> str:
        return self.temporal_address or f"{self.host}:{self.port('temporal')}"

    @property
    def jwt_key(self) -> str:
        given = self.require("jwt_secret").jwt_secret
        return given.get_secret_value() if given else self.secrets.jwt_key

    @property
    def fix_key(self) -> str:
        given = self.require("fix_secret").fix_secret
        return given.get_secret_value() if given else self.secrets.fix


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"HUNDI_{name}: {said}" if name else said
