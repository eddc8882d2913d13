"""FIX 4.2 and 5.0 SP2: the pure codec, the logon and the bridge to QuickFIX."""
