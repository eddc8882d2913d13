"""Memory: the only SQL, and the only Redis commands that touch money."""
