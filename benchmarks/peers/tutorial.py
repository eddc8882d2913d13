"""An order endpoint as tutorials write it: `python -m benchmarks.peers.tutorial PORT`.

FastAPI with a bearer token, a synchronous SQLModel session a request, and Redis SET NX against repeats, as
their documentation shows them, but for the size of the pool. The same PostgreSQL, synchronous commit on.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import jwt
from fastapi import Depends, FastAPI, HTTPException, status
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel
from redis import Redis
from sqlmodel import Field, Session, SQLModel, create_engine

from benchmarks.peers.serving import serve_peer
from config.settings import settings
from config.tokens import ALGORITHM, AUDIENCE

DAY_SECONDS = 86_400
THREADS = 40
"""Of FastAPI. With SQLAlchemy's own limit, 15 connections, whoever holds one waits for a thread and threads
wait for connections: at 16 clients this endpoint stops for 30 s and answers 500."""
dsn = settings().postgres_owner_dsn.replace("postgresql:", "postgresql+psycopg:")
engine = create_engine(dsn, pool_size=THREADS)
redis = Redis.from_url(settings().redis_dsn)
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")


class OrderIn(BaseModel):
    instrument_id: str
    order_type: str
    transaction_type: str
    quantity: int
    product: str
    validity: str
    idempotency_key: UUID
    price: Decimal | None = None


class Order(SQLModel, table=True):
    __tablename__ = "peer_tutorial_orders"

    id: int | None = Field(default=None, primary_key=True)
    user_id: int = Field(index=True)
    key: UUID = Field(unique=True)
    instrument_id: str
    order_type: str
    transaction_type: str
    quantity: int
    product: str
    validity: str
    price: Decimal | None = None
    status: str = "PENDING_VALIDATION"
    created_at: datetime


class OrderOut(BaseModel):
    order_id: str
    status: str
    timestamp: datetime


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    SQLModel.metadata.create_all(engine, tables=[SQLModel.metadata.tables["peer_tutorial_orders"]])
    yield


app = FastAPI(lifespan=lifespan)


def get_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


def get_current_user(token: Annotated[str, Depends(oauth2_scheme)]) -> int:
    try:
        claims = jwt.decode(token, settings().jwt_key, algorithms=[ALGORITHM], audience=AUDIENCE)
    except jwt.InvalidTokenError:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED) from None
    return int(claims["sub"])


@app.post("/api/v1/orders", status_code=status.HTTP_202_ACCEPTED)
def place(
    asked: OrderIn,
    session: Annotated[Session, Depends(get_session)],
    user_id: Annotated[int, Depends(get_current_user)],
) -> OrderOut:
    if not redis.set(f"idempotency:{user_id}:{asked.idempotency_key}", "1", nx=True, ex=DAY_SECONDS):
        raise HTTPException(status.HTTP_409_CONFLICT, "This order was placed before.")
    order = Order(
        user_id=user_id,
        key=asked.idempotency_key,
        created_at=datetime.now(UTC),
        **asked.model_dump(exclude={"idempotency_key"}),
    )
    session.add(order)
    session.commit()
    session.refresh(order)
    return OrderOut(order_id=str(order.id), status=order.status, timestamp=order.created_at)


if __name__ == "__main__":
    serve_peer(app, settings(), "peer-tutorial")
