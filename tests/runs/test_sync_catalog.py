"""The catalog: what the file says is what can be bought, and what is not priced says so."""

import io
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from runs.models import Capability, Mode, Provider, Tool, WorkflowTemplate
from sandbox.providers.tariff import TARIFFS

pytestmark = pytest.mark.django_db


def synced(*file: str) -> str:
    said = io.StringIO()
    call_command("sync_catalog", *file, stdout=said)
    return said.getvalue()


WORK_EMAIL: dict[str, Any] = {
    "key": "work_email",
    "name": "Work e-mail",
    "cascade": ["icypeas.email_finder", "hunter.email_finder", "prospeo.email_finder"],
}


def catalog(folder: Path, *providers: dict[str, Any], **made_of_tools: list[dict[str, Any]]) -> str:
    file = folder / "catalog.json"
    parts: dict[str, Any] = {"providers": providers, "capabilities": [], "templates": []}
    file.write_text(json.dumps(parts | made_of_tools))
    return str(file)


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
    hunter = {"id": "hunter", "name": "Hunter", "category": "enrichment", "tools": [tool]}
    assert synced(catalog(tmp_path, hunter)).splitlines() == ["tool hunter.email_finder", "1 of 2 changed"]
    assert Tool.objects.get(pk="hunter.email_finder").price == Decimal("1.25")


@pytest.mark.parametrize(
    "change",
    [{"price": "2"}, {"price": "-1"}, {"price": "much"}, {"price": None}, {"success_rate": "1.5"}, {"name": ""}],
)
def test_a_tool_that_makes_no_sense_changes_nothing(tmp_path: Path, change: dict[str, object]) -> None:
    tool = {"id": "x.y", "name": "Y", "price": "1", "maximum": "1", "success_rate": "0.6"} | change
    with pytest.raises(CommandError):
        synced(catalog(tmp_path, {"id": "x", "name": "X", "category": "enrichment", "tools": [tool]}))
    assert not Provider.objects.exists()


# ------------------------------------------------------------------ what is made of tools


def test_capabilities_and_templates_are_synced_with_their_tools_in_order() -> None:
    assert "capability work_email" in synced()
    assert Capability.objects.get(key="work_email").cascade == WORK_EMAIL["cascade"]
    assert WorkflowTemplate.objects.get(id="crm_first").cascade[0] == "hubspot.company_lookup"


def test_another_order_is_another_cascade(tmp_path: Path) -> None:
    synced()
    turned = WORK_EMAIL | {"cascade": WORK_EMAIL["cascade"][::-1]}
    assert synced(catalog(tmp_path, capabilities=[turned])).splitlines() == [
        "capability work_email",
        "1 of 1 changed",
    ]
    assert Capability.objects.get(key="work_email").cascade == turned["cascade"]
    assert Capability.objects.count() > 1  # what the file no longer names stays


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cascade": ["hunter.email_finder", "hunter.mind_reader"]}, "work_email: there is no tool hunter.mind_reader"),
        ({"cascade": ["hunter.email_finder", "hunter.email_finder"]}, "work_email: names hunter.email_finder twice"),
        ({"cascade": []}, "work_email: This field cannot be blank"),
        ({"cascade": None}, "is no catalog"),
        ({"cascade": "hunter.email_finder"}, "work_email: names"),
        ({"name": ""}, "work_email: This field cannot be blank"),
        ({"key": "Work e-mail"}, "“Work e-mail” is no key"),
        ({"key": ""}, "is no key"),
        ({"key": "opening"}, "opening stands there twice"),
    ],
)
def test_a_capability_that_makes_no_sense_changes_nothing(tmp_path: Path, change: dict[str, object], said: str) -> None:
    synced()
    template = {"id": "opening", "name": "Opening", "description": "A line.", "cascade": ["openai.ai_column"]}
    file = catalog(tmp_path, capabilities=[WORK_EMAIL | {"name": "Other"} | change], templates=[template])
    with pytest.raises(CommandError, match=re.escape(said)):
        synced(file)
    assert not WorkflowTemplate.objects.filter(id="opening").exists()
    assert Capability.objects.get(key="work_email").name == "Work e-mail"


@pytest.mark.parametrize("missing", ["providers", "capabilities", "templates"])
def test_a_file_without_one_of_its_parts_is_no_catalog(tmp_path: Path, missing: str) -> None:
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps({part: [] for part in ("providers", "capabilities", "templates") if part != missing}))
    with pytest.raises(CommandError, match=f"is no catalog: '{missing}'"):
        synced(str(file))


def test_a_list_of_providers_alone_is_no_catalog(tmp_path: Path) -> None:
    file = tmp_path / "catalog.json"
    file.write_text("[]")
    with pytest.raises(CommandError, match="is no catalog"):
        synced(str(file))
