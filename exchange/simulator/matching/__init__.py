"""The matching engine: books, stops, call auctions and what happened in them."""
