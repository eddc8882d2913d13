"""Claims take turns between users; a delivery sold on the day of its purchase binds no cost."""

from pathlib import Path
from typing import Any

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Straight to the driver, without parameters: the file's colons and percent signs are its own.
    driver: Any = op.get_bind().connection.driver_connection
    driver.execute(Path(__file__).with_suffix(".sql").read_text())
