"""The instrument master as the gates read it: whole, in memory, loaded at start-up.

It changes when a day begins whose contracts are others: the day roll adds them (`list_contracts`), and the
processes that hold the master begin anew (workers/series_roll.py). What has expired stays, for the books.
"""

from dataclasses import asdict
from datetime import date

from psycopg.rows import DictRow

from config.instrument_master import instruments_of
from domain.instruments import Instrument, InstrumentKind, Segment
from domain.sessions import session_classes
from storage.database import Connection, Database

_COLUMNS = ", ".join(Instrument.__slots__)


async def list_contracts(conn: Connection, day: date) -> None:
    """Add what is listed on a day and not there yet; what is there keeps its terms."""
    values = ", ".join(f"%({column})s" for column in Instrument.__slots__)
    async with conn.cursor() as cursor:
        await cursor.executemany(
            f"INSERT INTO instruments ({_COLUMNS}) VALUES ({values}) ON CONFLICT (instrument_id) DO UPDATE "
            "SET token = EXCLUDED.token WHERE instruments.token <> EXCLUDED.token".encode(),
            [asdict(instrument) for instrument in instruments_of(day)],
        )


async def load_instruments(database: Database) -> dict[str, Instrument]:
    """Every instrument by its id."""
    async with database.reading() as conn:
        return await _all(conn)


async def classify(conn: Connection, day: date) -> None:
    """Give each instrument its session class of a day; which future is the front one changes by expiry."""
    classes = session_classes((await _all(conn)).values(), day)
    await conn.execute(
        "UPDATE instruments n SET session_class = c.session_class "
        "FROM unnest(%s::text[], %s::text[]) AS c (instrument_id, session_class) "
        "WHERE n.instrument_id = c.instrument_id AND n.session_class <> c.session_class",
        (list(classes), list(classes.values())),
    )


async def _all(conn: Connection) -> dict[str, Instrument]:
    found = await conn.execute(f"SELECT {_COLUMNS} FROM instruments ORDER BY instrument_id".encode())
    return {row["instrument_id"]: _instrument(row) async for row in found}


def _instrument(row: DictRow) -> Instrument:
    return Instrument(**(row | {"segment": Segment(row["segment"]), "kind": InstrumentKind(row["kind"])}))
