"""Ticks and sockets: the tier that never touches SQL."""
