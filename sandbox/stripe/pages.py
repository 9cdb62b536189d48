"""The hosted pages a browser clicks through: Checkout, an invoice, authentication, the customer portal. Plain HTML."""

from html import escape

from sandbox.stripe import checkout, invoices, payments
from sandbox.stripe.cards import CARDS, Card
from sandbox.stripe.customers import attach, method_with
from sandbox.stripe.events import told
from sandbox.stripe.lines import shown_amount
from sandbox.stripe.refusals import Refusal, declined
from sandbox.stripe.state import Json, World

NUMBERS = "".join(f'<option value="{card.number}">{card.name}</option>' for card in CARDS)


def framed(title: str, body: str, refusal: str = "") -> str:
    """A whole page."""
    alert = f'<p role="alert">{escape(refusal)}</p>' if refusal else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title></head><body><main>"
        f"<p><strong>Stripe sandbox: no real money</strong></p><h1>{escape(title)}</h1>{alert}{body}"
        "</main></body></html>"
    )


def _form(action: str, fields: str, *buttons: tuple[str, str]) -> str:
    pressed = " ".join(f'<button name="act" value="{value}">{escape(label)}</button>' for value, label in buttons)
    return f'<form method="post" action="{escape(action)}">{fields}<p>{pressed}</p></form>'


def _card_field() -> str:
    return (
        '<p><label>Card number <input name="number" inputmode="numeric" autocomplete="cc-number" required'
        f' list="cards" value="4242 4242 4242 4242"></label></p><datalist id="cards">{NUMBERS}</datalist>'
    )


def _challenge(action: str, number: str = "") -> str:
    fields = f'<p>Your bank asks whether this payment is yours.</p><input type="hidden" name="number" value="{number}">'
    return _form(
        action, fields, ("authenticate", "Complete authentication"), ("refuse", "Fail authentication"),
        ("abandon", "Go back without paying"),
    )  # fmt: skip


def checkout_page(world: World, id: str, refusal: str = "") -> str:
    """What is to be bought, and the card field."""
    session = world.get("checkout.session", id)
    if session["status"] != "open":
        raise Refusal(f"This Checkout Session is {session['status']}.", status=410)
    rows = "".join(
        f"<li>{each['quantity']} × {escape(str(each['description']))}:"
        f" {shown_amount(each['amount_total'], each['currency'])}</li>"
        for each in world.keep(id)["line_items"]
    )
    amount = "Save a card"
    if session["mode"] != "setup":
        amount = f"Total due today: {shown_amount(session['amount_total'], session['currency'])}"
    email = "" if session["customer"] else '<p><label>Email <input name="email" type="email"></label></p>'
    press = {"subscription": "Subscribe", "payment": "Pay", "setup": "Save card"}[session["mode"]]
    back = f'<p><a href="{escape(session["cancel_url"])}">Back</a></p>' if session["cancel_url"] else ""
    form = _form(f"/c/pay/{id}", email + _card_field(), ("pay", press))
    return framed("Checkout", f"<ul>{rows}</ul><p>{amount}</p>{form}{back}", refusal)


def checkout_pressed(world: World, id: str, sent: dict[str, str]) -> tuple[str, str]:
    """Returns where to go, or the page to show."""
    session, act = world.get("checkout.session", id), sent.get("act", "pay")
    if act in ("refuse", "abandon"):
        gone = act == "abandon" and session["cancel_url"]
        said = "We are unable to authenticate your payment method. Please choose a different payment method."
        return (session["cancel_url"], "") if gone else ("", checkout_page(world, id, said))
    try:
        card = checkout.card_typed(sent.get("number", ""))
        if card.authentication and act != "authenticate" and session["status"] == "open":
            return "", framed("3D Secure", _challenge(f"/c/pay/{id}", card.number))
        checkout.complete(world, session, card, sent.get("email", ""), authenticated=act == "authenticate")
    except Refusal as refusal:
        return "", checkout_page(world, id, str(refusal))
    return session["success_url"].replace("{CHECKOUT_SESSION_ID}", id), ""


def invoice_page(world: World, id: str, refusal: str = "") -> str:
    """An invoice, and while it is open the way to pay it."""
    invoice = world.get("invoice", id)
    rows = "".join(
        f"<li>{escape(str(each['description']))}: {shown_amount(each['amount'], each['currency'])}</li>"
        for each in invoice["lines"]["data"]
    )
    sums = f"<p>Total: {shown_amount(invoice['total'], invoice['currency'])}</p><p>Status: {invoice['status']}</p>"
    if invoice["status"] == "open":
        sums += f"<p>Due: {shown_amount(invoice['amount_remaining'], invoice['currency'])}</p>"
        if invoices.intent_of(world, invoice)["status"] == "requires_action":
            sums += f'<p><a href="/3ds/{invoices.intent_of(world, invoice)["id"]}">Finish authentication</a></p>'
        sums += _form(f"/i/{id}", _card_field(), ("pay", "Pay invoice"))
    download = f'<p><a href="/i/{id}/pdf">Download invoice</a></p>' if invoice["invoice_pdf"] else ""
    return framed(f"Invoice {invoice['number'] or ''}", f"<ul>{rows}</ul>{sums}{download}", refusal)


def invoice_pressed(world: World, id: str, sent: dict[str, str]) -> tuple[str, str]:
    invoice = world.get("invoice", id)
    try:
        card = checkout.card_typed(sent.get("number", ""))
        refusal = invoices.pay(world, invoice, _new_card(world, card, invoice["customer"])["id"])
    except Refusal as caught:
        refusal = caught
    if invoice["status"] == "open" and invoices.intent_of(world, invoice)["status"] == "requires_action":
        return f"/3ds/{invoices.intent_of(world, invoice)['id']}", ""
    return "", invoice_page(world, id, str(refusal) if refusal else "")


def _new_card(world: World, card: Card, customer: str) -> Json:
    if card.attach:
        raise declined(card.attach)
    method = method_with(world, card)
    return attach(world, method["id"], world.living_customer(customer))


def challenge_page(world: World, id: str) -> str:
    intent = world.get("payment_intent", id)
    if intent["status"] != "requires_action":
        return framed("3D Secure", f"<p>Nothing to authenticate: this payment is {intent['status']}.</p>")
    amount = shown_amount(intent["amount"], intent["currency"])
    return framed("3D Secure", f"<p>{amount}</p>{_challenge(f'/3ds/{id}')}")


def challenge_pressed(world: World, id: str, sent: dict[str, str]) -> tuple[str, str]:
    """Finish, fail or leave the authentication that a payment waits for."""
    intent, act = world.get("payment_intent", id), sent.get("act", "")
    invoice = world.keep(id).get("invoice")
    if intent["status"] == "requires_action" and act in ("authenticate", "refuse"):
        back = intent["next_action"]["redirect_to_url"]["return_url"]
        method = intent["payment_method"]
        if act == "authenticate":
            refusal = payments.confirm(world, intent, method, authenticated=True)
        else:
            refusal = payments.refuse_authentication(world, intent)
        invoices.after_attempt(world, intent, refusal)
        if back:
            return back, ""
    return (f"/i/{invoice}", "") if invoice else ("", challenge_page(world, id))


def portal_page(world: World, id: str, refusal: str = "") -> str:
    """A customer's card and invoices, as far as the configuration shows them."""
    session = world.get("billing_portal.session", id)
    customer = world.living_customer(session["customer"])
    features = world.get("billing_portal.configuration", session["configuration"])["features"]
    body = ""
    if features["payment_method_update"]["enabled"]:
        default = world.find(customer["invoice_settings"]["default_payment_method"] or "")
        body += f"<p>Card: {'•••• ' + default['card']['last4'] if default else 'none'}</p>"
        body += _form(f"/p/session/{id}", _card_field(), ("card", "Save card"))
    if features["invoice_history"]["enabled"]:
        rows = "".join(
            f'<li><a href="/i/{each["id"]}">{each["number"]}</a> {each["status"]}'
            f" {shown_amount(each['total'], each['currency'])}</li>"
            for each in world.where("invoice", customer=customer["id"])
            if each["number"]
        )
        body += f"<h2>Invoices</h2><ul>{rows}</ul>"
    if session["return_url"]:
        body += f'<p><a href="{escape(session["return_url"])}">Return</a></p>'
    return framed("Customer portal", body, refusal)


def portal_pressed(world: World, id: str, sent: dict[str, str]) -> tuple[str, str]:
    """Take a new card, for the customer and for every subscription that has one of its own."""
    session = world.get("billing_portal.session", id)
    customer = world.living_customer(session["customer"])
    try:
        card = checkout.card_typed(sent.get("number", ""))
        if card.authentication and sent.get("act") != "authenticate":
            return "", framed("3D Secure", _challenge(f"/p/session/{id}", card.number))
        method = _new_card(world, card, customer["id"])
    except Refusal as refusal:
        return "", portal_page(world, id, str(refusal))
    world.set_up.add(method["id"])
    with told(world, "customer.updated", customer):
        customer["invoice_settings"]["default_payment_method"] = method["id"]
    for each in world.where("subscription", customer=customer["id"]):
        if each["default_payment_method"]:
            with told(world, "customer.subscription.updated", each):
                each["default_payment_method"] = method["id"]
    flow = session["flow"]
    if flow and flow["after_completion"]["type"] == "redirect":
        return flow["after_completion"]["redirect"]["return_url"], ""
    return "", portal_page(world, id)
