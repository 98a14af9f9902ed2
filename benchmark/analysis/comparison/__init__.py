"""Whether one method is better, steadier or more robust than another.

Reading order: `series` chooses the runs, `compare` tests them, `sentences` and `markdown` write the
answers, `plots` draws them, and `terminal` is ``dfkd compare``. `robustness`, `loss_stability` and
`summary` add what only `robustness_page` shows, which is ``dfkd robustness``.
"""
