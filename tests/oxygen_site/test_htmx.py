"""One view answers whole pages and fragments, and says so to caches; nothing inline runs anywhere."""

import pytest
from django.http import HttpResponse
from django.template import engines
from django.template.loaders.locmem import Loader
from django.test import Client, RequestFactory
from django_htmx.middleware import HtmxDetails

from billing.models import User
from oxygen_site.htmx import page

WHOLE = "<h1>Billing</h1>{% partialdef usage inline %}<p id=usage>12</p>{% endpartialdef %}"


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> str:
    engine = engines["django"].engine  # type: ignore[attr-defined]
    monkeypatch.setattr(engine, "template_loaders", [Loader(engine, {"page.html": WHOLE})])
    return "page.html"


def answer(template: str, rf: RequestFactory, **headers: str) -> HttpResponse:
    request = rf.get("/", headers=headers)
    request.htmx = HtmxDetails(request)  # type: ignore[attr-defined]
    return page(request, template, fragment="usage")


@pytest.mark.parametrize("target", ["usage", "div#usage"])
def test_htmx_gets_the_fragment_whose_element_it_names(template: str, rf: RequestFactory, target: str) -> None:
    assert answer(template, rf, hx_request="true", hx_target=target).content == b"<p id=usage>12</p>"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"hx_request": "true", "hx_target": "charges"},
        {"hx_request": "true", "hx_target": "usage", "hx_history_restore_request": "true"},
    ],
    ids=["plain request", "another element", "history restore"],
)
def test_everybody_else_gets_the_whole_page(template: str, rf: RequestFactory, headers: dict[str, str]) -> None:
    assert answer(template, rf, **headers).content.startswith(b"<h1>Billing</h1>")


@pytest.fixture
def alice_at_her_desk(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_user(email="alice@desk.example"))
    return client


def test_signed_in_pages_are_nobody_elses(alice_at_her_desk: Client) -> None:
    response = alice_at_her_desk.get("/admin/login/", follow=False)

    assert response["X-Robots-Tag"] == "noindex"
    assert "private" in response["Cache-Control"]
    assert {"HX-Request", "HX-Target", "Cookie"} <= {name.strip() for name in response["Vary"].split(",")}


@pytest.mark.django_db
def test_a_page_for_everybody_may_be_indexed(client: Client) -> None:
    assert "X-Robots-Tag" not in client.get("/accounts/login/")


@pytest.mark.django_db
def test_htmx_at_the_login_wall_is_sent_to_the_login_page_and_back_to_where_it_was(client: Client) -> None:
    response = client.get(
        "/billing",
        headers={"hx_request": "true", "hx_current_url": "http://testserver/orgs/acme/billing/?range=7d"},
    )

    assert response.status_code == 200
    assert response["HX-Redirect"] == "/accounts/login/?next=%2Forgs%2Facme%2Fbilling%2F%3Frange%3D7d"


@pytest.mark.django_db
def test_a_page_goes_out_compressed_to_whoever_can_read_that(client: Client) -> None:
    plain = client.get("/accounts/login/")
    small = client.get("/accounts/login/", headers={"accept_encoding": "br, gzip"})

    assert "Content-Encoding" not in plain
    assert small["Content-Encoding"] == "gzip"
    assert len(small.content) < len(plain.content) / 2
    assert "Accept-Encoding" in small["Vary"]


@pytest.mark.django_db
def test_the_policy_allows_no_inline_script_or_style(client: Client) -> None:
    policy = client.get("/accounts/login/")["Content-Security-Policy"]

    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
