"""The catalog: what the file says is what can be bought, and what is not priced says so."""

import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from runs.models import Mode, Provider, Tool
from sandbox.providers.tariff import TARIFFS

pytestmark = pytest.mark.django_db


def synced(*file: str) -> str:
    said = io.StringIO()
    call_command("sync_catalog", *file, stdout=said)
    return said.getvalue()


def test_the_second_time_changes_nothing() -> None:
    first, second = synced(), synced()
    assert "tool hunter.email_finder" in first
    assert second.startswith("0 of ")


def test_enrichment_and_ai_are_managed_and_the_rest_on_the_orgs_own_account() -> None:
    synced()
    own = {provider.id for provider in Provider.objects.all() if provider.default_mode == Mode.BYOK}
    assert own == {"hubspot", "salesforce", "smartlead", "linkedin"}
    assert Provider.objects.count() - len(own) == 12


def test_a_price_that_is_not_known_is_not_nought() -> None:
    synced()
    assert Tool.objects.get(pk="apollo.job_changes").price is None


def test_no_sandbox_tariff_is_above_the_catalogs_maximum() -> None:
    synced()
    assert set(Tool.objects.values_list("pk", flat=True)) == set(TARIFFS)
    over = [tool.id for tool in Tool.objects.exclude(maximum=None) if TARIFFS[tool.id].highest > tool.maximum]
    assert over == []


def test_a_price_is_changed_by_the_file(tmp_path: Path) -> None:
    synced()
    tool = {
        "id": "hunter.email_finder",
        "name": "Work e-mail",
        "price": "1.25",
        "maximum": "1.5",
        "success_rate": "0.6",
    }
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps([{"id": "hunter", "name": "Hunter", "category": "enrichment", "tools": [tool]}]))
    assert synced(str(file)).splitlines() == ["tool hunter.email_finder", "1 of 2 changed"]
    assert Tool.objects.get(pk="hunter.email_finder").price == Decimal("1.25")


@pytest.mark.parametrize(
    "change",
    [{"price": "2"}, {"price": "-1"}, {"price": "much"}, {"price": None}, {"success_rate": "1.5"}, {"name": ""}],
)
def test_a_tool_that_makes_no_sense_changes_nothing(tmp_path: Path, change: dict[str, object]) -> None:
    tool = {"id": "x.y", "name": "Y", "price": "1", "maximum": "1", "success_rate": "0.6"} | change
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps([{"id": "x", "name": "X", "category": "enrichment", "tools": [tool]}]))
    with pytest.raises(CommandError):
        synced(str(file))
    assert not Provider.objects.exists()
