"""The three journals, intake, outbox and inbox, with what is written and read beside them."""
