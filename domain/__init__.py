"""The rules: standard library only, no I/O, no clock, no randomness; time and prices are passed in.

What the workflow, the Lua scripts and the tests must agree on lives here: frozen dataclasses,
StrEnums and integers. Money is integer paise, time is integer nanoseconds since the epoch (UTC).
"""
