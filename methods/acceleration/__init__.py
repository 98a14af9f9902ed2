"""The same numbers, sooner: recorded steps, batch-last convolutions, optimisers."""
