"""The instrument master as the gates read it: whole, in memory, loaded at start-up.

It changes once a day, before the market opens; a process that needs tomorrow's loads it anew.
"""

from psycopg.rows import DictRow

from domain.instruments import Instrument, InstrumentKind, Segment
from storage.database import Database


async def load_instruments(database: Database) -> dict[str, Instrument]:
    """Every instrument by its id."""
    columns = ", ".join(Instrument.__slots__)
    async with database.reading() as conn:
        found = await conn.execute(f"SELECT {columns} FROM instruments ORDER BY instrument_id".encode())
        return {row["instrument_id"]: _instrument(row) async for row in found}


def _instrument(row: DictRow) -> Instrument:
    return Instrument(**(row | {"segment": Segment(row["segment"]), "kind": InstrumentKind(row["kind"])}))
