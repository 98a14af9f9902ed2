"""How fast the program is: steps and whole runs, tables, grids.

``make bench`` times steps and runs, and those of a plain loop (`steps`, `launches`, `start`,
`whole`); ``make bench-tables`` the tables of made-up records (`tables`, `made_up`); and
``make bench-grids`` whole grids (`scaling`).
"""
