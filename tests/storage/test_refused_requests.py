"""Refusals on record: each, as long as they are few; counted, when they are a flood; kept, while the books
are away."""

import itertools
from typing import Any

import psycopg
import pytest

from storage.audit import Origin
from storage.database import Database, open_database
from storage.refused_requests import (
    MINUTE_NS,
    OF_A_STRANGER,
    OF_A_USER,
    STRANGERS_MOST,
    RefusedRequest,
    RefusedRequests,
)

AT = 1_900_000_000_000_000_000
_networks = itertools.count(1)
_users = itertools.count(7_810_000)


def a_refusal(address: str | None, at_ns: int = AT, **changes: Any) -> RefusedRequest:
    facts: dict[str, Any] = {
        "request": "POST /api/v1/orders",
        "status": 401,
        "code": "TOKEN_MISSING",
        "at_ns": at_ns,
    }
    return RefusedRequest(origin=Origin(address, "a phone", a_trace()), **(facts | changes))


def a_trace() -> str:
    return f"00-{next(_networks):032x}-{1:016x}-00"


def a_network() -> str:
    """Of this test alone: addresses are `{network}.1` to `{network}.254`."""
    number = next(_networks)
    return f"10.{number // 250}.{number % 250}"


async def of_network(database: Database, network: str) -> list[dict[str, Any]]:
    async with database.reading() as conn:
        found = await conn.execute(
            "SELECT event, actor, host(client_ip) AS ip, device, detail FROM audit_log"
            " WHERE client_ip <<= %s::inet ORDER BY audit_id",
            (network,),
        )
        return await found.fetchall()


async def test_a_few_refusals_are_a_row_each_with_where_they_come_from(database: Database) -> None:
    network, refused = a_network(), RefusedRequests(database)
    for _ in range(OF_A_STRANGER):
        refused.add(a_refusal(f"{network}.1", claimed="RISK01"))
    await refused.write(AT)
    await refused.write(AT)
    rows = await of_network(database, f"{network}.0/24")
    detail = {"request": "POST /api/v1/orders", "status": 401, "code": "TOKEN_MISSING", "client_id": "RISK01"}
    one = {"event": "REQUEST_REFUSED", "actor": "stranger", "ip": f"{network}.1", "device": "a phone"}
    assert rows == [one | {"detail": detail}] * OF_A_STRANGER


async def test_a_flood_of_one_stranger_is_a_few_rows_and_a_count(database: Database) -> None:
    network, refused = a_network(), RefusedRequests(database)
    for number in range(10_000):
        refused.add(a_refusal(f"{network}.1", AT + number, code="TOKEN_MISSING" if number % 4 else "X"))
    await refused.write(AT)
    assert len(await of_network(database, f"{network}.0/24")) == OF_A_STRANGER
    await refused.write(AT + MINUTE_NS)
    await refused.write(AT + 2 * MINUTE_NS)
    rows = await of_network(database, f"{network}.0/24")
    assert len(rows) == OF_A_STRANGER + 1
    assert rows[-1]["event"] == "REQUESTS_REFUSED"
    assert rows[-1]["detail"]["times"] == 10_000 - OF_A_STRANGER
    assert sum(rows[-1]["detail"]["codes"].values()) == 10_000 - OF_A_STRANGER
    assert set(rows[-1]["detail"]["codes"]) == {"TOKEN_MISSING", "X"}


async def test_a_flood_from_everywhere_is_bounded_and_hides_no_user(database: Database) -> None:
    refused, user_id = RefusedRequests(database), next(_users)
    for number in range(5_000):
        refused.add(a_refusal(f"172.16.{number // 250}.{number % 250}"))
    refused.add(a_refusal("172.17.0.1", user_id=user_id, asker="RISK01", code="ROLE_REQUIRED"))
    await refused.write(AT)
    await refused.write(AT + MINUTE_NS)
    strangers = await of_network(database, "172.16.0.0/16")
    assert len(strangers) <= STRANGERS_MOST + OF_A_STRANGER
    [row] = await of_network(database, "172.17.0.1")
    assert (row["actor"], row["detail"]["code"]) == ("RISK01", "ROLE_REQUIRED")


async def test_a_host_s_ipv6_addresses_are_one_stranger(database: Database) -> None:
    refused, network = RefusedRequests(database), f"2001:db8:{next(_networks):x}:7"
    for number in range(1, 200):
        refused.add(a_refusal(f"{network}::{number:x}"))
    await refused.write(AT)
    assert len(await of_network(database, f"{network}::/64")) == OF_A_STRANGER


async def test_a_user_has_more_rows_and_the_next_minute_begins_anew(database: Database) -> None:
    refused, user_id, network = RefusedRequests(database), next(_users), a_network()
    for number in range(2 * OF_A_USER):
        refused.add(a_refusal(f"{network}.{number + 1}", user_id=user_id, asker="DEMO0001"))
    await refused.write(AT + MINUTE_NS)
    assert len(await of_network(database, f"{network}.0/24")) == OF_A_USER + 1
    refused.add(a_refusal(f"{network}.200", AT + MINUTE_NS, user_id=user_id, asker="DEMO0001"))
    await refused.write(AT + MINUTE_NS)
    assert len(await of_network(database, f"{network}.200")) == 1


async def test_what_cannot_be_written_is_kept_and_comes_with_what_came_meanwhile(
    database: Database, servers: Any
) -> None:
    network = a_network()
    async with open_database(servers.postgres_dsn, size=1, application="refusals") as own:
        refused = RefusedRequests(own)
        refused.add(a_refusal(f"{network}.1"))
        async with own.transaction() as conn:
            found = await (await conn.execute("SELECT pg_backend_pid() AS pid")).fetchone()
        assert found is not None
        async with database.transaction() as conn:
            await conn.execute("SELECT pg_terminate_backend(%s)", (found["pid"],))
        with pytest.raises(psycopg.OperationalError):
            await refused.write(AT)
        refused.add(a_refusal(f"{network}.1"))
        await refused.write(AT)
        await refused.write(AT)
    assert len(await of_network(database, f"{network}.0/24")) == 2


async def test_at_the_end_everything_is_told(database: Database) -> None:
    network, refused = a_network(), RefusedRequests(database)
    for _ in range(OF_A_STRANGER + 3):
        refused.add(a_refusal(f"{network}.1"))
    await refused.write(AT, ending=True)
    assert [row["detail"].get("times") for row in await of_network(database, f"{network}.0/24")][-1] == 3
