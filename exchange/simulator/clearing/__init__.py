"""The clearing corporation's part: risk arrays and the SPAN file."""
