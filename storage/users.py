"""Users, as signing in needs them."""

from dataclasses import dataclass

from psycopg.rows import class_row

from storage.database import Database


@dataclass(frozen=True, slots=True)
class User:
    user_id: int
    client_id: str
    password_hash: str
    """Argon2."""
    role: str


async def find_user(database: Database, client_id: str) -> User | None:
    async with database.reading() as conn, conn.cursor(row_factory=class_row(User)) as cur:
        await cur.execute(
            "SELECT user_id, client_id, password_hash, role::text FROM users WHERE client_id = %s",
            (client_id,),
        )
        return await cur.fetchone()
