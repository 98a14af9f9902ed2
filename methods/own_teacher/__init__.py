"""`distill()`: any data-free method on anybody's classifier."""
