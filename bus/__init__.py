"""Redis as a wire between processes: order updates, ticks, wake-ups, health. No SQL."""
