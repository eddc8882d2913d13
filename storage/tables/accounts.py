"""Users, and the numbering of their order updates."""

from sqlalchemy import BigInteger, Identity, String, Text, UniqueConstraint

from config.tokens import Role
from storage.tables.base import USER_ROLE, Row, column


class UserRow(Row, table=True):
    """A person who signs in, a client or staff."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("client_id"),)

    user_id: int = column(BigInteger, Identity(always=False), primary_key=True)
    client_id: str = column(String(20))
    full_name: str = column(Text)
    password_hash: str = column(Text)
    role: Role = column(USER_ROLE)
    created_at_ns: int = column(BigInteger)


class UpdateSequenceRow(Row, table=True):
    """The number of a user's last order update.

    Numbers are 1, 2, 3 ... without gaps: the row's lock makes them follow the commit order, so that a client
    can resume from a cursor and notices a missing update.
    """

    __tablename__ = "update_sequences"
    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)

    user_id: int = column(BigInteger, primary_key=True, references="users.user_id")
    last_seq: int = column(BigInteger, default="0")
