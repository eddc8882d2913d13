"""The checks before a trade that need no money: gates on terms, prices and the day."""
