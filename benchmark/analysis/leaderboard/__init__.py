"""The ranked tables, one for each task, budget and teacher, and all that is made of them.

Reading order: `rows` and `tables` gather records into tables, and `headline` says which rows are
compared; `ranking` ranks them, `quotes` finds the published numbers, `work` its unit, and `cells`
writes every column as text. `captions` and `legend` are the words around a table. `overall` is the
table over several tasks; `quality`, `classes` and `appendix` are the smaller tables below a ranked
one. `markdown`, `formats` (CSV, LaTeX) and `terminal` render, and `publish` is
``dfkd leaderboard``.
"""
