"""Traces, metrics and logs of every process. Empty until they are exported."""
