"""Every kind of finding: its stable code, how bad it may be, what it means and what to do.

The audit's page and `docs/data.md` show this list, and a test holds every check to it. To add a kind, give it an entry
in `set_codes`, `label_codes` or `file_codes`, and a row in the documentation.
"""

from __future__ import annotations

from kdyolo.datasets.auditing.file_codes import FILE_CODES
from kdyolo.datasets.auditing.kinds import AREAS, Area, Kind
from kdyolo.datasets.auditing.label_codes import LABEL_CODES
from kdyolo.datasets.auditing.set_codes import SET_CODES

__all__ = ["AREAS", "CODES", "Area", "Kind"]

CODES: dict[str, Kind] = {**SET_CODES, **LABEL_CODES, **FILE_CODES}
"""Code -> what it is."""
