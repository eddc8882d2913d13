"""What the risk desk sees: trading states and limits, and what a freeze has set in motion."""

from typing import Any, Self

from pydantic import BaseModel, Field

from api.responses import Rupees, Time
from domain.money import rupees
from domain.time import rfc3339
from domain.trading_states import Cause, Scope, TradingState


class Asked(BaseModel):
    """A release that another of the risk desk must confirm."""

    asked_by: str
    until: Time


class State(BaseModel):
    """In force now; what is not listed is ACTIVE."""

    scope: Scope
    id: str = Field(description="client id, instrument id or segment; empty for all")
    state: TradingState
    cause: Cause
    reason: str
    actor: str
    since: Time
    reopens_at: Time | None
    release: Asked | None = Field(None, description="asked for, and to be confirmed by another person")

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        reopens, asker = row["reopens_at_ns"], row["release_asker"]
        asked = None if asker is None else Asked(asked_by=asker, until=rfc3339(row["release_until_ns"]))
        return cls(
            id=row["scope_id"],
            since=rfc3339(row["since_ns"]),
            release=asked,
            reopens_at=None if reopens is None else rfc3339(reopens),
            **{name: row[name] for name in ("scope", "state", "cause", "reason", "actor")},
        )


class States(BaseModel):
    states: list[State]


class Frozen(BaseModel):
    """Effective: nothing that the state stops leaves any more."""

    scope: Scope
    id: str
    state: TradingState
    changed: bool = Field(description="false: it stood so already")
    timestamp: Time
    wind_down: str | None = Field(description="the workflow that cancels and closes, where asked for")


class Unfrozen(BaseModel):
    scope: Scope
    id: str
    lifted: list[Cause] = Field(description="empty: the desk had nothing to lift, or only asks yet")
    timestamp: Time
    release: Asked | None = Field(None, description="202: nothing is lifted until another confirms")


class Limits(BaseModel):
    client_id: str | None = Field(description="null: the house's, for every account without its own")
    effective_from: str = Field(json_schema_extra={"format": "date"})
    exposure_limit: Rupees
    position_limit: int = Field(description="units of one instrument, either side, of all products")
    order_value_limit: Rupees

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        return cls(
            client_id=row["client_id"],
            effective_from=row["effective_from"].isoformat(),
            exposure_limit=rupees(row["exposure_limit"]),
            position_limit=row["position_limit"],
            order_value_limit=rupees(row["order_value_limit"]),
        )


class AllLimits(BaseModel):
    limits: list[Limits]
