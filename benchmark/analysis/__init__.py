"""Records to tables. Imports no torch, but for `series` where records lack a swept setting."""
