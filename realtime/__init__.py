"""Ticks and sockets: the tier that never touches SQL. Empty until the stream lands."""
