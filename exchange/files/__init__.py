"""The exchange's files of the day: instruments, risk parameters, bans and trades."""
