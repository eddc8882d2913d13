"""The exchange gateway: persistent FIX sessions between the outbox and the inbox.

Sender (claim, send), writer (one transaction for sends and reports), line (QuickFIX and its threads),
breaker (a burst of rejects pauses a session). Put together by workers/gateway.py.
"""
