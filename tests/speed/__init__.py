"""``make bench``: what a step costs, ours and a plain loop's, side by side."""
