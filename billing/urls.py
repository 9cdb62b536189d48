"""The ground floor's addresses. Names are those of the views."""

from django.urls import path

from billing.views.agency import agency, agency_csv
from billing.views.auto_top_up import auto_top_up
from billing.views.grants import grants
from billing.views.holds import holds
from billing.views.invoices import invoices
from billing.views.join import join
from billing.views.keys import (
    agency_keys,
    agency_revoke_key,
    agency_rotate_key,
    keys,
    revoke_key,
    rotate_key,
)
from billing.views.ledger import entry, ledger, ledger_csv
from billing.views.orgs import home, index, new_org
from billing.views.overview import overview
from billing.views.portal import portal
from billing.views.returned import returned
from billing.views.settings import change_member, change_zone, invite, revoke_invitation, settings
from billing.views.statement import statement, statement_csv
from billing.views.stripe_webhook import stripe_webhook
from billing.views.subscribe import cancel_plan, checkout, confirm, preview, subscribe, top_up, undo
from billing.views.theme import theme
from billing.views.usage_csv import usage_csv

app_name = "billing"
urlpatterns = [
    path("", home, name="home"),
    path("billing/", home, name="billing"),
    path("billing", home),
    path("runs/", home, {"to": "runs:index"}, name="runs"),
    path("runs", home, {"to": "runs:index"}),
    path("subscribe/", home, {"to": "billing:subscribe"}, name="plan"),
    path("subscribe", home, {"to": "billing:subscribe"}),
    path("theme/", theme, name="theme"),
    path("orgs/", index, name="orgs"),
    path("orgs/new/", new_org, name="new_org"),
    path("orgs/<slug:slug>/billing/", overview, name="overview"),
    path("orgs/<slug:slug>/billing/usage.csv", usage_csv, name="usage_csv"),
    path("orgs/<slug:slug>/billing/holds/", holds, name="holds"),
    path("orgs/<slug:slug>/billing/invoices/", invoices, name="invoices"),
    path("orgs/<slug:slug>/billing/statement/", statement, name="statement"),
    path("orgs/<slug:slug>/billing/statement.csv", statement_csv, name="statement_csv"),
    path("orgs/<slug:slug>/billing/ledger/", ledger, name="ledger"),
    path("orgs/<slug:slug>/billing/ledger/csv/", ledger_csv, name="ledger_csv"),
    path("orgs/<slug:slug>/billing/ledger/<str:entry_id>/", entry, name="entry"),
    path("orgs/<slug:slug>/billing/grants/", grants, name="grants"),
    path("orgs/<slug:slug>/billing/settings/", settings, name="settings"),
    path("orgs/<slug:slug>/billing/settings/zone/", change_zone, name="change_zone"),
    path("orgs/<slug:slug>/billing/settings/members/", change_member, name="change_member"),
    path("orgs/<slug:slug>/billing/settings/invitations/", invite, name="invite"),
    path("orgs/<slug:slug>/billing/settings/invitations/revoke/", revoke_invitation, name="revoke_invitation"),
    path("orgs/<slug:slug>/subscribe/", subscribe, name="subscribe"),
    path("orgs/<slug:slug>/subscribe/preview/", preview, name="preview"),
    path("orgs/<slug:slug>/subscribe/checkout/", checkout, name="checkout"),
    path("orgs/<slug:slug>/subscribe/confirm/", confirm, name="confirm"),
    path("orgs/<slug:slug>/subscribe/undo/", undo, name="undo"),
    path("orgs/<slug:slug>/subscribe/cancel/", cancel_plan, name="cancel_plan"),
    path("orgs/<slug:slug>/subscribe/top-up/", top_up, name="top_up"),
    path("orgs/<slug:slug>/subscribe/automatic/", auto_top_up, name="auto_top_up"),
    path("orgs/<slug:slug>/subscribe/portal/", portal, name="portal"),
    path("orgs/<slug:slug>/subscribe/return/", returned, name="returned"),
    path("join/<str:token>/", join, name="join"),
    path("orgs/<slug:slug>/settings/keys/", keys, name="keys"),
    path("orgs/<slug:slug>/settings/keys/<uuid:key_id>/revoke/", revoke_key, name="revoke_key"),
    path("orgs/<slug:slug>/settings/keys/<uuid:key_id>/rotate/", rotate_key, name="rotate_key"),
    path("agency/", agency, name="agency"),
    path("agency/clients.csv", agency_csv, name="agency_csv"),
    path("agency/keys/", agency_keys, name="agency_keys"),
    path("agency/keys/<uuid:key_id>/revoke/", agency_revoke_key, name="agency_revoke_key"),
    path("agency/keys/<uuid:key_id>/rotate/", agency_rotate_key, name="agency_rotate_key"),
    path("stripe/webhook/", stripe_webhook, name="stripe_webhook"),
]
