"""Where a refusal points: verbs name their own fields, and bodies of the API have other names for some of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from oxygen_site.transactions import Refused


@contextmanager
def pointing(**named: str) -> Iterator[None]:
    """Let refusals of these fields point at those of the body: `@pointing(cap="max_credits")`, below `write`."""
    try:
        yield
    except Refused as refusal:
        refusal.field = named.get(refusal.field or "", refusal.field)
        raise
