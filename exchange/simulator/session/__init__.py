"""The trading session: phases by the clock, bands and average prices."""
