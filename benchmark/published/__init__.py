"""The numbers of the papers, a TOML file each, and `papers`, which reads them."""
