"""What accounts may bind: the margin view in Redis, the figures it is a view of, and reservations."""
