"""The demo's database and its Stripe belong together: one file, one port, one endpoint."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from billing.models import Customer, Organization
from oxygen_site import postgres
from oxygen_site.demo import sandbox
from tests.sandbox.stripe.local import Sandbox


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OXYGEN_DATA", str(tmp_path / "demo"))
    return sandbox.file()


def endpoints(local: Sandbox) -> list[Any]:
    return list(local.stripe.webhook_endpoints.list().data)


def test_it_is_registered_once(local: Sandbox) -> None:
    for _ in range(2):
        sandbox.register(local.url, "http://127.0.0.1:8000")
    assert [each.url for each in endpoints(local)] == ["http://127.0.0.1:8000/stripe/webhook/"]


def test_at_another_port_the_endpoint_moves(local: Sandbox) -> None:
    sandbox.register(local.url, "http://127.0.0.1:8000")
    sandbox.register(local.url, "http://127.0.0.1:8001")
    assert [each.url for each in endpoints(local)] == ["http://127.0.0.1:8001/stripe/webhook/"]


def test_the_file_lies_beside_the_data_and_goes_with_them(file: Path) -> None:
    file.write_text("{}")
    assert file == postgres.demo().with_name("demo.stripe.json")
    postgres.throw_away(postgres.demo())
    assert not file.exists()


def test_without_a_last_time_the_port_is_the_usual_one_or_one_that_is_free(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(sandbox, "USUAL_PORT", listener.getsockname()[1])
        assert sandbox.port() not in (0, sandbox.USUAL_PORT)
    assert sandbox.port() == sandbox.USUAL_PORT


def test_the_port_of_the_last_time_is_taken_again_unless_it_is_not_free(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
        file.write_text(json.dumps({"base": f"http://127.0.0.1:{number}"}))
        assert sandbox.port() != number
    assert sandbox.port() == number


@pytest.mark.parametrize("text", ["", "[]", '{"base": 1}', '{"base": "http://127.0.0.1:99999"}'])
def test_a_file_that_names_no_port_is_no_hindrance(file: Path, text: str) -> None:
    file.write_text(text)
    assert 0 < sandbox.port() < 65536


@pytest.mark.django_db
def test_a_new_database_begins_with_an_empty_stripe(file: Path) -> None:
    file.write_text("{}")
    sandbox.begin()
    assert not file.exists()
    sandbox.begin()


def test_a_database_in_use_keeps_its_stripe(file: Path, acme: Organization) -> None:
    file.write_text("{}")
    sandbox.begin()
    assert file.exists()


def test_a_stripe_that_does_not_know_the_customers_is_refused(local: Sandbox, acme: Organization, file: Path) -> None:
    ada = local.stripe.customers.create(params={"name": "Ada"})
    Customer.objects.create(org=acme, stripe_id=ada.id)
    sandbox.check(local.url)
    local.order("reset")
    with pytest.raises(sandbox.Apart, match=f"The database knows {ada.id}, .* begin anew with `make clean`"):
        sandbox.check(local.url)


def test_a_stripe_that_is_not_there_is_silent() -> None:
    with pytest.raises(sandbox.Silent):
        sandbox.read("http://127.0.0.1:9")
