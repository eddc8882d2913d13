"""What the same work costs when it is written otherwise."""
