"""``make bench-faults``: a grid killed at random moments, and what is lost."""
