"""Who is better: records to tables, comparisons and pages. Imports no torch, even indirectly.

`frame` flattens records; `statistics` are the tests and intervals; `leaderboard`, `comparison`,
`reproduction`, `image_quality` and `report` are what commands write; `text` is how they write
numbers and tables.
"""
