"""Names that become folders and file names: of methods, tasks and suites."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""It has no separator and does not start with a dot, so that it cannot lead to another folder."""
