"""How often providers may be called, and whether they answer at all: one row an account, shared by all workers.

For `dispatch.py`, which asks for leave before it claims, `worker.py`, which tells how calls went, and whoever pauses or
resumes a run. Laws: a call needs leave of its account: a token where the provider limits its calls; none is given while
it asked not to be called, or is left alone because it failed so often in a row; then one call asks whether it is back.
Rows are locked first and alone, in an intention of their own, so a worker that dies loses tokens and nothing else.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from oxygen_site.sql import array, query
from oxygen_site.transactions import intention
from runs.models import Limit, Provider, Run
from runs.models.limits import OXYGENS
from runs.providers.outcomes import Health

if TYPE_CHECKING:
    from runs.dispatch import Answer, Call

LONGEST_REST = 300  # seconds for which a provider that fails again and again is left alone
LONGEST_WAIT = 10  # seconds until whoever got no leave asks again: it may be back before it is due


class Leave(NamedTuple):
    """How many calls an account may get now, and after how many seconds it is worth asking for more."""

    calls: int
    wait: int


def accounts(run: Run) -> dict[str, UUID]:
    """Say whose account at each of a run's providers is called: the org's own, or Oxygen's."""
    return {step.provider: run.org_id if step.byok else OXYGENS for step in run.cascade}


# Whether some account of a run has a limit or a trouble, so that leave must be asked for. A part of the claim.
ANY_LIMIT = """EXISTS (
  SELECT FROM unnest(%(providers)s::text[], %(accounts)s::uuid[]) AS a(provider, account)
  JOIN runs_provider AS p ON p.id = a.provider
  LEFT JOIN runs_limit AS l ON l.provider_id = a.provider AND l.account = a.account
  WHERE p.calls_per_second IS NOT NULL OR l.open_until IS NOT NULL OR l.blocked_until > clock_timestamp())"""

DOWN = """
SELECT ceil(extract(epoch FROM max(greatest(l.open_until, l.probing_until)) - clock_timestamp()))::int
FROM unnest(%(providers)s::text[], %(accounts)s::uuid[]) AS a(provider, account)
JOIN runs_limit AS l ON l.provider_id = a.provider AND l.account = a.account
WHERE greatest(l.open_until, l.probing_until) > clock_timestamp()"""


def down(run: Run) -> timedelta | None:
    """Say for how long some account of a run is left alone, or None where all may be called. One query."""
    (seconds,) = query(DOWN, **named(run))[0]
    return None if seconds is None else timedelta(seconds=seconds)


def unavailable(run: Run) -> list[str]:
    """Name those of a run's providers that are left alone because they failed. One query."""
    failing = Q()
    for provider, account in accounts(run).items():
        failing |= Q(limits__provider=provider, limits__account=account)
    return list(Provider.objects.filter(failing, limits__open_until__isnull=False).values_list("name", flat=True))


# ------------------------------------------------------------------ leave to call

MAKE = """
INSERT INTO runs_limit (provider_id, account, tokens, filled_at, failures, openings)
SELECT p.id, w.account, greatest(p.calls_per_second, 1), clock_timestamp(), 0, 0
FROM unnest(%(providers)s::text[], %(accounts)s::uuid[]) AS w(provider, account)
JOIN runs_provider AS p ON p.id = w.provider AND p.calls_per_second IS NOT NULL
WHERE NOT EXISTS (SELECT FROM runs_limit WHERE provider_id = w.provider AND account = w.account)
ORDER BY 1, 2 ON CONFLICT DO NOTHING"""

# A bucket that fills at the provider's rate and holds one second's worth; none, where it has no rate and only failed.
TAKE = """
WITH mine AS (
  SELECT l.*, w.n, p.calls_per_second AS rate, clock_timestamp() AS now
  FROM unnest(%(providers)s::text[], %(accounts)s::uuid[], %(n)s::int[]) AS w(provider, account, n)
  JOIN runs_limit AS l ON l.provider_id = w.provider AND l.account = w.account
  JOIN runs_provider AS p ON p.id = l.provider_id
  ORDER BY l.provider_id, l.account FOR NO KEY UPDATE OF l),
filled AS (
  SELECT *, greatest(blocked_until, open_until, probing_until) AS shut,
         CASE WHEN rate IS NOT NULL  -- least and greatest pass over what is NULL
              THEN least(greatest(rate, 1), tokens + rate * greatest(extract(epoch FROM now - filled_at), 0))
         END AS level FROM mine),
given AS (
  SELECT *, CASE WHEN shut > now THEN 0
                 ELSE least(n, floor(level), CASE WHEN open_until IS NOT NULL THEN 1 END) END::int AS calls FROM filled)
UPDATE runs_limit AS l
SET tokens = coalesce(given.level - given.calls, l.tokens), filled_at = given.now,
    probing_until = CASE WHEN given.open_until IS NOT NULL AND given.calls > 0
                         THEN given.now + %(lease)s * interval '1 second' ELSE l.probing_until END
FROM given WHERE l.provider_id = given.provider_id AND l.account = given.account
RETURNING l.provider_id, given.calls,
          greatest(ceil(CASE WHEN given.shut > given.now THEN extract(epoch FROM given.shut - given.now)
                             ELSE 1 / given.rate END), 1)::int"""


def take(run: Run, wanted: Mapping[str, int]) -> dict[str, Leave]:
    """Take leave for so many calls at each provider; a provider that is not in the answer has no limit at all."""
    names = sorted(name for name, n in wanted.items() if n > 0)
    whose = accounts(run)
    facts = {"providers": array(names), "accounts": array(whose[name] for name in names)}

    def verb() -> list[tuple[Any, ...]]:
        query(MAKE, **facts)
        return query(TAKE, **facts, n=array(wanted[name] for name in names), lease=settings.LEASE_SECONDS)

    return {name: Leave(calls, min(wait, LONGEST_WAIT)) for name, calls, wait in intention(verb)} if names else {}


# ------------------------------------------------------------------ how it went

FAILED = """
INSERT INTO runs_limit AS l
  (provider_id, account, tokens, filled_at, failures, openings, blocked_until, open_until)
SELECT p.id, f.account, greatest(p.calls_per_second, 1, 0), clock_timestamp(), f.n, (f.n >= %(most)s)::int,
       clock_timestamp() + f.pause * interval '1 second',
       CASE WHEN f.n >= %(most)s THEN clock_timestamp() + %(rest)s * interval '1 second' END
FROM unnest(%(providers)s::text[], %(accounts)s::uuid[], %(n)s::int[], %(pauses)s::int[])
  AS f(provider, account, n, pause)
JOIN runs_provider AS p ON p.id = f.provider
ORDER BY 1, 2
ON CONFLICT (provider_id, account) DO UPDATE SET
  failures = l.failures + EXCLUDED.failures,
  blocked_until = greatest(l.blocked_until, EXCLUDED.blocked_until),
  (openings, open_until, probing_until) = (
    SELECT CASE WHEN opens THEN l.openings + 1 ELSE l.openings END,
           CASE WHEN NOT opens THEN l.open_until ELSE clock_timestamp()
                + least(%(rest)s * 2 ^ least(l.openings, 16), %(longest)s) * interval '1 second' END,
           CASE WHEN opens THEN NULL ELSE l.probing_until END
    FROM (SELECT EXCLUDED.failures > 0 AND l.failures + EXCLUDED.failures >= %(most)s
                 AND coalesce(l.open_until <= clock_timestamp(), true) AS opens) AS verdict)"""

ANSWERED = """
UPDATE runs_limit AS l SET failures = 0, openings = 0, open_until = NULL, probing_until = NULL
FROM unnest(%(providers)s::text[], %(accounts)s::uuid[]) AS a(provider, account)
WHERE l.provider_id = a.provider AND l.account = a.account AND (l.failures > 0 OR l.open_until IS NOT NULL)"""

TRY_NOW = """
UPDATE runs_limit AS l SET open_until = least(l.open_until, clock_timestamp()), probing_until = NULL
FROM unnest(%(providers)s::text[], %(accounts)s::uuid[]) AS a(provider, account)
WHERE l.provider_id = a.provider AND l.account = a.account AND l.open_until IS NOT NULL"""


def tell(run: Run, answers: Sequence["Answer"], *, failing: bool) -> None:
    """Tell which accounts failed or asked not to be called and, where any is `failing` now, which answered."""
    if not failing and all(answer.outcome.health is Health.WELL for answer in answers):
        return
    by_health: dict[str, Counter[str]] = {health: Counter() for health in Health}
    pauses: dict[str, int] = {}
    for answer in answers:
        name = run.cascade[answer.call.step].provider
        by_health[answer.outcome.health][name] += 1
        if answer.outcome.pause is not None:
            pauses[name] = max(pauses.get(name, 0), answer.outcome.pause)
    well, ill = by_health[Health.WELL], by_health[Health.ILL]
    ill -= Counter({name: ill[name] for name in well})  # one that answered is there
    if ill or pauses or (well and failing):
        intention(lambda: _tell(run, well.keys(), ill, pauses))


def no_answer(run: Run, call: "Call") -> None:
    """Tell that a call had no usable answer."""
    intention(lambda: _tell(run, (), Counter([run.cascade[call.step].provider]), {}))


def _tell(run: Run, well: Collection[str], ill: Counter[str], pauses: Mapping[str, int]) -> None:
    if names := sorted(ill.keys() | pauses.keys()):
        first = settings.BREAKER_SECONDS
        query(
            FAILED,
            **named(run, names),
            n=[ill[name] for name in names],
            pauses=[pauses.get(name) for name in names],
            most=settings.BREAKER_FAILURES,
            rest=first,
            longest=max(first, LONGEST_REST),
        )
    if well:
        query(ANSWERED, **named(run, well))


def try_now(run: Run) -> None:
    """Let the next call ask at once whether the accounts of a run are back: a person asked for it. A step."""
    query(TRY_NOW, **named(run))


def forget(org: UUID, provider: str) -> None:
    """Think well of an org's own account again, for its credential is another. A step."""
    Limit.objects.filter(provider=provider, account=org).delete()


def named(run: Run, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Name the accounts of a run at these of its providers, or at all, as statements take them."""
    whose = accounts(run)
    listed = sorted(whose if names is None else names)
    return {"providers": array(listed), "accounts": array(whose[name] for name in listed)}
