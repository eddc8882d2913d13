"""The risk desk: states, limits, halts and alerts, and the gate that asks for them."""
