"""``dfkd report``: all records in one self-contained HTML page.

Reading order: `page` puts the sections together, `figures` draws the plots, `runs` writes every run
as JSON for the script in ``templates/``.
"""
