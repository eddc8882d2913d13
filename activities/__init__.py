"""Effects: thin, one class per outside system; each step is keyed by the order and may run again."""
