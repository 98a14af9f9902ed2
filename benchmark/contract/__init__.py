"""The suite every method must pass, ours or a stranger's: ``dfkd test``."""
