"""How fast, against whom: each row shows ours between a peer and a ceiling of the same run."""
