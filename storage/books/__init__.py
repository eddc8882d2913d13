"""Booking: what the exchange reported as trades, postings, holdings and positions."""
