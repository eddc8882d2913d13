"""The market as the books keep it: instruments, phases, candles and the day."""
