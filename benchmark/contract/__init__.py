"""What every method must pass (``dfkd test``), and files to start from (``dfkd new-method``).

In reading order: `checks` (the contract, a function a check), `testbed` (a tiny task to try methods
on), `suite` (the checks applied), `scaffold` and `task_template` (what new files hold).
"""
