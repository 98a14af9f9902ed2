"""The pages of results, which are written and checked together: ``dfkd pages``.

`publish` is the command. `results` is the page of findings, made of the sentences of `findings`
and of the papers' numbers that `beside` puts next to ours; `readme` is the marked part of the
README. The other pages are made in their own rooms. All are pure functions of the records.
"""
