"""WebSocket connections that cost little while they are idle, and Engine.IO on them."""
