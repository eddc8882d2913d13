"""The embedded market's exchange: matching engine, venue rules, journal and FIX acceptor.

Imported by its own process (workers/simulator.py), the replay command, tests and benchmarks, by nobody
else: to the rest of the house an exchange is something at the far end of a FIX session.
"""
