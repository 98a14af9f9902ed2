"""What to run: grids as TOML files, read by `suite`, and the runs they plan (`plan`)."""
