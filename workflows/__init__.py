"""Stories: deterministic, they call the domain and the activities."""
