"""The client side: subscriptions, order updates, portfolios, over Socket.IO or plain WebSocket."""
