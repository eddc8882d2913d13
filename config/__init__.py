"""What a process must be told: one frozen settings class, read from the environment."""
