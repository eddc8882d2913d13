"""The feed side: datagrams in, lines arbitrated, conflated ticks out."""
