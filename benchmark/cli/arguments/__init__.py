"""The commands and options of ``dfkd`` as they are typed, one file for each panel of its help."""
