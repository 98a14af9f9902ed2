"""The ranked tables, one for each task, budget and teacher, and all that is made of them.

Reading order: `rows` and `tables` gather records into tables; `ranking` ranks their rows, `quotes`
finds the published numbers, and `cells` writes every column as text. `overall` is the table over
all tasks; `quality`, `classes` and `appendix` are the smaller tables below a ranked one.
`markdown`, `formats` (CSV, LaTeX) and `terminal` render, and `publish` is ``dfkd leaderboard``.
"""
