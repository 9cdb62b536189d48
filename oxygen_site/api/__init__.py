"""The JSON API, version 1: what its operations are made of. `urls.py` mounts the routers that the floors write.

The floors take from here `may`, the gate of an operation; `write`, which does a write once for each Idempotency-Key;
`Data` and `Shown` for answers, `Taken` for bodies, cursors for lists, and types of fields. Laws: every operation stands
behind a gate of `billing/access.py`; whatever fails under /api/ is a problem of RFC 9457 with a stable `code`.
"""

from oxygen_site.api.answers import Credits, Data, Instant, Shown, written
from oxygen_site.api.bodies import WHOLE, CostIn, Count, CreditsIn, Cursor, Limit, Taken, Whole
from oxygen_site.api.cursors import read_cursor, write_cursor
from oxygen_site.api.gate import ApiKey, may
from oxygen_site.api.once import write
from oxygen_site.api.problems import problem, problems
from oxygen_site.api.version1 import api

__all__ = [
    "WHOLE",
    "ApiKey",
    "CostIn",
    "Count",
    "Credits",
    "CreditsIn",
    "Cursor",
    "Data",
    "Instant",
    "Limit",
    "Shown",
    "Taken",
    "Whole",
    "api",
    "may",
    "problem",
    "problems",
    "read_cursor",
    "write",
    "write_cursor",
    "written",
]
