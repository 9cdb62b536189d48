"""One table of what there is to see: each page of the product once, and each state once where it occurs.

For `test_states.py`, which has axe look at each, and for `screenshots.py`, which takes their pictures. A page that is
not in the table is looked at by nobody, so a new page comes in here.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from django.db import connection
from playwright.sync_api import Page, expect

from tests.browser.world import ARABIC, HEBREW, LONG, WORD, World

type Act = Callable[[Page], None]


class State(NamedTuple):
    """Who stands before what; `act` is done there. `shows` must be in place then."""

    name: str
    who: str
    address: str  # with {places}
    shows: str
    status: int = 200
    act: Act | None = None
    fails: bool = False  # a request on the way does, and the console says so
    wide: bool = False  # pictured on a wide screen too


# ------------------------------------------------------------------ what is done on a page


def press(name: str, what: str = "button", within: str = "body") -> Act:
    """Press the first thing of a name."""

    def act(page: Page) -> None:
        page.locator(within).get_by_role(what, name=name).first.click()  # type: ignore[arg-type]

    return act


def pick(*names: str) -> Act:
    """Choose plans, or when they shall start, by the beginning of what they are called."""

    def act(page: Page) -> None:
        for name in names:
            page.get_by_role("radio", name=re.compile(f"^{name}")).click()
            expect(page.locator("#preview")).not_to_contain_text("Choose a plan")

    return act


def offline(page: Page) -> None:
    page.context.set_offline(True)
    page.get_by_role("link", name="90 days").click()


def cut_off(page: Page) -> None:
    """Have what stands before the server answer in its place, as when it is being replaced."""
    page.route("**/billing/?range=90d*", lambda route: route.fulfill(status=502, body="Bad gateway"))
    page.get_by_role("link", name="90 days").click()


def session_over(page: Page) -> None:
    page.context.clear_cookies()
    page.get_by_role("link", name="90 days").click()
    page.wait_for_url("**/accounts/login/**")


def too_old(page: Page) -> None:
    """Send a form whose token is gone."""
    page.context.clear_cookies()
    page.get_by_label("Email").fill("alice@oxygen.example")
    page.get_by_label("Password").fill("a long enough password")
    page.get_by_role("button", name="Sign in").click()


def wrong_password(page: Page) -> None:
    page.get_by_label("Email").fill("alice@oxygen.example")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()


def broken(page: Page) -> None:
    """Look at a page whose table is away."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_invitation RENAME TO away")
        answer = page.goto("/orgs/acme/billing/settings/")
        cursor.execute("ALTER TABLE away RENAME TO billing_invitation")
    assert answer
    assert answer.status == 500


def estimate(page: Page) -> None:
    page.get_by_label("Table").select_option(label="Leads")
    expect(page.get_by_label("Fill")).to_contain_text("Opening line")
    page.get_by_label("Fill").select_option(label="Work e-mail")
    page.get_by_role("button", name="Estimate").click()


# ------------------------------------------------------------------ the table

ACME, LONGEST, RTL = "/orgs/acme", "/orgs/{long}", "/orgs/{arabic}"
MANY, SMALL, FRESH, LATE = "/orgs/sixty-providers", "/orgs/small-and-large", "/orgs/fresh-start", "/orgs/late-payments"
RUN = f"{ACME}/runs"

OVERVIEW = (
    State("Overview", "Alice", f"{ACME}/billing/", "It ties out.", wide=True),
    State("Overview, filtered, with its table", "Alice", f"{ACME}/billing/?range=90d&daily=1&provider=hunter", "All"),
    State(
        *("Overview, by member, filters open, balance as a table", "Alice"),
        *(f"{ACME}/billing/?range=30d&group=member&filters=1&course=1", "Close filters"),
    ),
    State("Overview, outcomes", "Alice", f"{ACME}/billing/?range=7d&group=outcome&measure=calls", "Calls settled"),
    State("Overview for a viewer", "Vera", f"{ACME}/billing/?range=30d", "It ties out."),
    State("Overview, where nothing fits the filters", "Alice", f"{ACME}/billing/?provider=nobody", "Take one off"),
    State("Overview, a card not loaded", "Alice", f"{ACME}/billing/", "Try again", act=cut_off, fails=True),
    State("Overview, offline", "Alice", f"{ACME}/billing/", "You are offline", act=offline, fails=True),
    State("Palette", "Alice", f"{ACME}/billing/", "Late Payments", act=press("Switch organization")),
    State("Account menu", "Alice", f"{ACME}/billing/", "Sign out", act=press("Signed in as")),
    State("Dialog to cancel a run", "Alice", f"{ACME}/billing/", "Keep", act=press("Cancel run", "link", "#runs")),
    State("New organization with nothing", "Alice", f"{FRESH}/billing/", "oxygen login"),
    State("Organization past due", "Alice", f"{LATE}/billing/?range=90d", "The payment of Growth failed."),
    State("Holds", "Alice", f"{ACME}/billing/holds/", "Holds"),
    State("Holds, none", "Alice", f"{FRESH}/billing/holds/", "Nothing is held."),
)

NAMES = (
    State("Long names, overview", "Alice", f"{LONGEST}/billing/?range=30d&group=tool", LONG),
    State("Long names, by member", "Alice", f"{LONGEST}/billing/?range=30d&group=member&filters=1", WORD),
    State("Long names, runs", "Alice", f"{LONGEST}/runs/", WORD),
    State("Long names, a run", "Alice", "{long_run}", WORD),
    State("Long names, ledger", "Alice", f"{LONGEST}/billing/ledger/", WORD),
    State("Long names, settings", "Alice", f"{LONGEST}/billing/settings/", WORD.lower()),
    State("Long names, keys", "Alice", f"{LONGEST}/settings/keys/", WORD),
    State("Right to left, overview", "Alice", f"{RTL}/billing/?range=30d&group=member", ARABIC),
    State("Right to left, a run", "Alice", "{arabic_run}", HEBREW),
    State("Right to left, settings", "Alice", f"{RTL}/billing/settings/", HEBREW),
    State("0.0001 and 99,999,999 credits", "Alice", f"{SMALL}/billing/?range=30d", "98,765,"),
    State("0.0001 credits in the ledger", "Alice", f"{SMALL}/billing/ledger/", "0.0001"),
    State("60 providers", "Alice", f"{MANY}/billing/?range=30d", "others"),
    State("60 providers, all, filters open", "Alice", f"{MANY}/billing/?range=30d&all=1&filters=1", "Source 60"),
    State("60 providers, ledger", "Alice", f"{MANY}/billing/ledger/?range=30d&provider=source-60", "Source 60"),
)

RUNS = (
    State("Runs", "Alice", f"{RUN}/", "All runs"),
    State("Runs for a viewer", "Vera", f"{RUN}/", "All runs"),
    State("Runs, none yet", "Alice", f"{FRESH}/runs/", "No run yet."),
    State("Runs, none of a status", "Alice", f"{RUN}/?status=failed", "No run has this status."),
    State("New run", "Alice", f"{RUN}/new/", "see what that may cost"),
    State("New run, estimated", "Alice", f"{RUN}/new/", "Available after it starts", act=estimate),
    State("Run paused at its cap", "Alice", f"{RUN}/{{at_cap}}/", "Paused: what next?"),
    State("Run paused by a person", "Alice", f"{RUN}/{{stopped}}/", "Paused: what next?"),
    State("Run whose provider is unavailable", "Alice", f"{RUN}/{{held_up}}/", "Icypeas"),
    State("Live run", "Alice", f"{RUN}/{{live}}/", "At work"),
    State("Run awaiting approval", "Alice", f"{RUN}/{{asked}}/", "Waits for approval"),
    State("Run awaiting approval, for a member", "Bob", f"{RUN}/{{asked}}/", "An admin or owner"),
    State("Run that is over", "Alice", f"{RUN}/{{over}}/", "reserved at the start"),
    State("Run in which everything happened", "Alice", f"{RUN}/{{odd}}/", "Oxygen absorbed"),
    State("Rows charged in vain", "Alice", f"{RUN}/{{odd}}/?calls=failed_after_billing", "charged, then failed"),
    State("Rows that wait", "Alice", f"{RUN}/{{odd}}/?calls=unknown", "unknown"),
    State("Rows partly absorbed", "Alice", f"{RUN}/{{odd}}/?calls=absorbed", "Partly absorbed"),
    State("One row", "Alice", f"{RUN}/{{odd}}/?row=5", "Row 5"),
    State("Cancel a run", "Alice", f"{RUN}/{{at_cap}}/cancel/", "Cancel"),
    State("Cancel a run that waits", "Alice", f"{RUN}/{{asked}}/cancel/", "Cancel"),
    State("Continue a run", "Alice", f"{RUN}/{{at_cap}}/continue/", "cap"),
    State("Provider accounts", "Alice", f"{RUN}/accounts/", "connected"),
)

BOOKS = (
    State("Ledger", "Alice", f"{ACME}/billing/ledger/", "Older"),
    State(
        *("Ledger, filtered", "Alice"),
        f"{ACME}/billing/ledger/?range=custom&kind=captured&provider=hunter&tool=hunter.email_finder&run={{over}}",
        "Captured",
    ),
    State("Ledger, empty", "Alice", f"{FRESH}/billing/ledger/", "Nothing"),
    State("Entry, reserved", "Alice", f"{ACME}/billing/ledger/{{over}}:0:0/", "Reserved"),
    State("Entry, captured", "Alice", f"{ACME}/billing/ledger/{{over}}:1:0/", "Captured"),
    State("Grants", "Alice", f"{ACME}/billing/grants/", "Used next"),
    State("Grants, nothing left", "Alice", f"{ACME}/billing/grants/?show=ended", "200 captured"),
    State("Grants, none", "Alice", f"{FRESH}/billing/grants/", "There are no credits to use."),
    State("Statement", "Alice", f"{ACME}/billing/statement/", "Statement"),
    State("Statement, empty", "Alice", f"{FRESH}/billing/statement/", "Statement"),
    State("Invoices", "Alice", f"{ACME}/billing/invoices/", "Paid"),
    State("Invoices, one to pay", "Alice", f"{LATE}/billing/invoices/", "To pay"),
    State("Invoices, none", "Alice", f"{FRESH}/billing/invoices/", "No invoices yet."),
)

PLANS = (
    State("Plan, none yet", "Alice", f"{FRESH}/subscribe/", "Choose a plan"),
    State("Plan, a first one chosen", "Alice", f"{FRESH}/subscribe/", "Subscribe to Growth", act=pick("Growth")),
    State("Plan, downgrade planned", "Alice", f"{ACME}/subscribe/", "Until then nothing changes."),
    State("Plan, for a member", "Bob", f"{ACME}/subscribe/", "Only an admin or owner"),
    State(
        *("Plan, upgrade shown", "Alice", "/orgs/growing/subscribe/", "This price holds until"),
        act=pick("Scale", "Now, prorated"),
    ),
    State("Plan, Checkout left", "Alice", "/orgs/waiting/subscribe/", "Growth is not paid yet"),
    State("Plan, change not paid", "Alice", "/orgs/unfinished/subscribe/", "It waits for its payment"),
    State("Plan, past due", "Alice", f"{LATE}/subscribe/", "The payment of Growth failed."),
    State("Plan that ends", "Alice", "/orgs/leaving/subscribe/", "It ends on"),
    State("Cancel the plan", "Alice", "/orgs/growing/subscribe/cancel/", "Cancel Growth?"),
    State("Automatic top-up", "Alice", f"{ACME}/subscribe/automatic/", "nothing is bought by itself"),
    State("Back from Stripe, paid", "Alice", f"{ACME}/subscribe/return/?session_id={{paid}}", "You are on Growth"),
    State(
        *("Back from Stripe, not heard of yet", "Alice"),
        *("/orgs/waiting/subscribe/return/?session_id={waiting}", "Confirming your payment"),
    ),
    State("Change declined", "Alice", "/orgs/unfinished/subscribe/return/?change={unpaid}", "is not finished"),
    State("Change planned", "Alice", f"{ACME}/subscribe/return/?change={{scheduled}}", "It changes on"),
)

SETTINGS = (
    State("Settings", "Alice", f"{ACME}/billing/settings/", "Members"),
    State("Time zone", "Alice", f"{ACME}/billing/settings/zone/", "Time zone"),
    State("API keys", "Alice", f"{ACME}/settings/keys/", "Nightly sync"),
    State("Rotate a key", "Alice", f"{ACME}/settings/keys/{{key}}/rotate/", "Rotate"),
    State("Revoke a key", "Alice", f"{ACME}/settings/keys/{{key}}/revoke/", "Revoke"),
    State("Organizations, found", "Alice", "/orgs/?q=ac", "Acme"),
    State("Organizations, none", "Mallory", "/orgs/", "Organizations"),
    State("Create an organization", "Mallory", "/orgs/new/", "Create your organization"),
    State("E-mail addresses", "Alice", "/accounts/email/", "alice@oxygen.example"),
    State("Change the password", "Alice", "/accounts/password/change/", "assword"),
)

AGENCY = (
    State("Agency board", "Harriet", "/agency/?daily=1", "Needs you first", wide=True),
    State("Agency board, nothing found", "Harriet", "/agency/?q=nobody", "nobody"),
    State("Agency without clients", "Quentin", "/agency/", "Clients"),
    State("Agency's keys", "Harriet", "/agency/keys/", "All clients"),
    State("Client, seen by its agency", "Harriet", f"{LATE}/billing/", "Viewing as agency: Harbor"),
    State("Client's statement", "Harriet", f"{LATE}/billing/statement/", "Statement"),
)

DOOR = (
    State("Sign in", "", "/accounts/login/", "New here?"),
    State("Sign in, wrong password", "", "/accounts/login/", "not correct", act=wrong_password),
    State("Create an account", "", "/accounts/signup/", "Have one already?"),
    State("Forgotten password", "", "/accounts/password/reset/", "assword"),
    State("Account that is switched off", "", "/accounts/inactive/", "switched off"),
    State("Session expired", "Alice", f"{ACME}/billing/", "Sign in", act=session_over),
    State("Invitation", "", "/join/{invitation}/", "Create an account"),
    State("Invitation, for whom it is", "Mallory", "/join/{invitation}/", "Join Acme"),
    State("Invitation, for somebody else", "Alice", "/join/{invitation}/", "Sign out and go on"),
    State("Invitation that is over", "", "/join/nothing/", "This invitation is over", 410),
    State("API", "", "/api/docs", "The JSON API"),
    State("API, an operation", "", "/api/docs/start_run", "Start"),
    State("Not allowed", "Bob", f"{ACME}/billing/settings/", "Not allowed", 403),
    State("Not found", "Alice", "/orgs/nobody/billing/", "Not found", 404),
    State("Made no sense", "Alice", f"/orgs/?{'a=1&' * 1001}", "That made no sense", 400),
    State("Form that is too old", "", "/accounts/login/", "Please try again", act=too_old, fails=True),
    State("Something broke", "Alice", f"{FRESH}/billing/", "Something broke", act=broken, fails=True),
    State("Doubts, for operators", "Olga", "/admin/runs/run/doubts/", "oubt"),
    State("Shortfalls, for operators", "Olga", "/admin/billing/organization/shortfalls/", "hortfall"),
)

STATES = (*OVERVIEW, *NAMES, *RUNS, *BOOKS, *PLANS, *SETTINGS, *AGENCY, *DOOR)


def show(page: Page, state: State, world: World) -> None:
    """Bring a page to a state, and see that it is in place."""
    answer = page.goto(state.address.format_map(world.places))
    assert answer
    assert answer.status == state.status, (state.name, answer.status)
    if state.act:
        state.act(page)
    expect(page.locator("body"), state.name).to_contain_text(state.shows)
