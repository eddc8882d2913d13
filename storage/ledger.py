"""The double-entry ledger: movements of money, whose postings sum to zero at the commit."""

from collections.abc import Iterable

from storage.database import Connection, columns

_POST = """
    INSERT INTO ledger_postings (movement, account, amount, posted_at_ns)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[])
"""


async def post(conn: Connection, rows: Iterable[tuple[str, str, int, int]]) -> None:
    """Post movement, account, amount and time; the database sums each movement to zero at the commit."""
    await conn.execute(_POST, columns(rows))
