"""The steps of an order in the books: submitted, changed, cancelled, refused; and orders as read."""
