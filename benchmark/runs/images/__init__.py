"""Images of finished runs: found again (`recovered`), measured and drawn."""
