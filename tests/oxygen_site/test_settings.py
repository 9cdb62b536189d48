"""Unsafe defaults are for the demo and tests; production starts whole or says in one sentence what is missing."""

import os
import subprocess
import sys

import pytest

from oxygen_site.postgres import CLONE

PRODUCTION = {
    "OXYGEN_ENV": "production",
    "SECRET_KEY": "k7Qx2v9Tz4Lw8Rb1Nc6Hy3Mf5Jd0Ps-aUeGiXoWqYtBnVmKrZl",
    "DATABASE_URL": "postgresql://oxygen@db.example.org/oxygen",
    "ALLOWED_HOSTS": "billing.example.org",
}


def manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=CLONE, env=bare | environment, capture_output=True, text=True
    )


DIFFER = ("SESSION_COOKIE_NAME", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_NAME", "CSRF_COOKIE_SECURE", "MOVABLE_CLOCK")


@pytest.fixture(scope="module")
def production() -> dict[str, str]:
    return read(PRODUCTION)


@pytest.fixture(scope="module")
def demo() -> dict[str, str]:
    return read({"OXYGEN_ENV": "demo"})


def read(environment: dict[str, str]) -> dict[str, str]:
    """Read what a process that starts there is set to, of what differs between the two."""
    code = f"from django.conf import settings; print(*(getattr(settings, n) for n in {DIFFER!r}), sep='\\n')"
    return dict(zip(DIFFER, manage(environment, "shell", "--no-imports", "-c", code).stdout.splitlines(), strict=True))


def test_a_production_like_environment_passes_djangos_own_check() -> None:
    checked = manage(PRODUCTION, "check", "--deploy", "--fail-level=INFO")

    assert checked.stdout == "System check identified no issues (0 silenced).\n", checked.stderr
    assert checked.returncode == 0


@pytest.mark.parametrize("missing", ["SECRET_KEY", "DATABASE_URL", "ALLOWED_HOSTS"])
def test_production_without_what_it_needs_is_refused_in_one_sentence(missing: str) -> None:
    refused = manage({name: value for name, value in PRODUCTION.items() if name != missing}, "check")

    assert refused.returncode == 1
    assert refused.stderr == (f"Set {missing} in the environment, or OXYGEN_ENV=demo for a try with unsafe defaults.\n")


def test_a_value_that_makes_no_sense_is_refused_by_name() -> None:
    refused = manage({"OXYGEN_ENV": "demo", "OXYGEN_LEASE_SECONDS": "soon"}, "check")

    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "OXYGEN_LEASE_SECONDS" in refused.stderr


def test_an_environment_nobody_knows_is_refused() -> None:
    refused = manage({"OXYGEN_ENV": "staging"}, "check")

    assert refused.returncode == 1
    assert "OXYGEN_ENV" in refused.stderr


def test_cookies_are_bound_to_the_host_but_where_the_demo_speaks_http(
    production: dict[str, str], demo: dict[str, str]
) -> None:
    assert [production[name] for name in DIFFER[:4]] == ["__Host-session", "True", "__Host-csrf", "True"]
    assert [demo[name] for name in DIFFER[:4]] == ["sessionid", "False", "csrftoken", "False"]


def test_business_time_stands_still_in_production(production: dict[str, str], demo: dict[str, str]) -> None:
    assert production["MOVABLE_CLOCK"] == "False"
    assert demo["MOVABLE_CLOCK"] == "True"


def test_the_demos_data_is_not_for_production() -> None:
    refused = manage(PRODUCTION, "up", "--demo")

    assert refused.returncode == 1
    assert "The demo needs OXYGEN_ENV=demo" in refused.stderr
