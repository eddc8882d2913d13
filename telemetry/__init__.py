"""What a running process tells of itself: traces, stage timings and structured logs (OpenTelemetry)."""
