"""The risk desk: trading states, limits, bans, market halts, the house's own orders."""

from pathlib import Path
from typing import Any

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Straight to the driver, without parameters: the file's colons and percent signs are its own.
    driver: Any = op.get_bind().connection.driver_connection
    driver.execute(Path(__file__).with_suffix(".sql").read_text())
