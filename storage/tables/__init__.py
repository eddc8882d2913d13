"""The schema as classes: one class a table, one module a room; the migrations are proved equal to it.

Units, where a column does not name its own: money is integer paise, `*_ns` is nanoseconds since the epoch
(UTC), a quantity counts units of the instrument. Triggers, functions, sequences, roles and partitions are in
the migrations alone. `storage/tables/schema.py` knows every class.
"""
