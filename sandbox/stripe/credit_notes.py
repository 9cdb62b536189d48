"""Credit notes: an invoice is worth less than it says; what was paid goes back, to the card or to the balance."""

from sandbox.stripe.answers import LISTING, page
from sandbox.stripe.customers import change_balance
from sandbox.stripe.disputes import refund
from sandbox.stripe.events import tell, told
from sandbox.stripe.operations import merged, operation, retrieval
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.state import Json, World

NOTE = (
    "invoice! amount!:int refund_amount:int credit_amount:int out_of_band_amount:int memo metadata:map"
    " reason:(duplicate|fraudulent|order_change|product_unsatisfactory)"
)


@operation("POST", "/v1/credit_notes", NOTE)
def make(world: World, asked: Json) -> Json:
    invoice = world.get("invoice", asked["invoice"], "invoice")
    note = _note(world, invoice, asked)
    customer = world.get("customer", invoice["customer"])
    if asked.get("refund_amount"):
        charge = _charge(world, invoice)
        made = refund(world, charge, asked["refund_amount"], None, {})
        note["refunds"] = [
            {"amount_refunded": made["amount"], "payment_record_refund": None, "refund": made["id"], "type": "refund"}
        ]
    if asked.get("credit_amount"):
        entry = change_balance(world, customer, -asked["credit_amount"], "credit_note", credit_note=note["id"])
        note["customer_balance_transaction"] = entry["id"]
    world.kinds.setdefault("credit_note", {})[note["id"]] = note
    with told(world, "invoice.updated", invoice):
        if note["type"] == "pre_payment":
            invoice["pre_payment_credit_notes_amount"] += note["amount"]
            invoice["amount_due"] -= note["amount"]
            invoice["amount_remaining"] -= note["amount"]
            for each in world.where("invoice_payment", invoice=invoice["id"], status="open"):
                each["amount_requested"] = invoice["amount_remaining"]
                world.get("payment_intent", each["payment"]["payment_intent"])["amount"] = invoice["amount_remaining"]
        else:
            invoice["post_payment_credit_notes_amount"] += note["amount"]
    tell(world, "credit_note.created", note)
    return note


@operation("GET", "/v1/credit_notes/preview", NOTE)
def preview(world: World, asked: Json) -> Json:
    return _note(world, world.get("invoice", asked["invoice"], "invoice"), asked)


def _charge(world: World, invoice: Json) -> Json:
    for each in world.where("invoice_payment", invoice=invoice["id"], status="paid"):
        return world.get("charge", world.get("payment_intent", each["payment"]["payment_intent"])["latest_charge"])
    raise Refusal("There is no payment of this invoice that could be refunded.", param="refund_amount")


def _note(world: World, invoice: Json, asked: Json) -> Json:
    amount = asked["amount"]
    paid = invoice["status"] == "paid"
    if invoice["status"] not in ("open", "paid"):
        raise Refusal("You can only credit an invoice that is open or paid.", param="invoice")
    ways = [asked.get(name, 0) for name in ("refund_amount", "credit_amount", "out_of_band_amount")]
    if min(*ways, amount) < 0 or not amount:
        raise Refusal("Amounts must be positive.", param="amount")
    left = invoice["amount_paid"] - invoice["post_payment_credit_notes_amount"] if paid else invoice["amount_remaining"]
    if amount > left:
        raise Refusal(f"The credit note's amount ({amount}) is greater than what is left ({left}).", param="amount")
    if sum(ways) != (amount if paid else 0):
        raise Refusal(
            "The sum of credit amount, refund amount and out of band amount must equal the post payment credit note"
            f" amount ({amount if paid else 0}).",
            param="amount",
        )
    line = world.draft(
        "credit_note_line_item",
        amount=amount,
        description=f"Credit for invoice {invoice['number']}",
        unit_amount=amount,
        unit_amount_decimal=str(amount),
    )
    many = len(list(world.where("credit_note", invoice=invoice["id"]))) + 1
    note = world.draft(
        "credit_note",
        world.now(invoice["test_clock"]),
        amount=amount,
        currency=invoice["currency"],
        customer=invoice["customer"],
        invoice=invoice["id"],
        number=f"{invoice['number']}-CN-{many:02}",
        out_of_band_amount=asked.get("out_of_band_amount"),
        post_payment_amount=amount if paid else 0,
        pre_payment_amount=0 if paid else amount,
        reason=asked.get("reason"),
        subtotal=amount,
        subtotal_excluding_tax=amount,
        total=amount,
        total_excluding_tax=amount,
        type="post_payment" if paid else "pre_payment",
    )
    note["effective_at"] = note["created"]
    note["pdf"] = f"{world.base}/i/{invoice['id']}/pdf"
    note["lines"] |= {"data": [line], "url": f"/v1/credit_notes/{note['id']}/lines"}
    merged(note, asked, "memo")
    return note


retrieval("credit_note", "/v1/credit_notes/{id}")


@operation("GET", "/v1/credit_notes", f"{LISTING} customer invoice created:range")
def notes(world: World, asked: Json) -> Json:
    facts = {name: asked[name] for name in ("customer", "invoice") if name in asked}
    return page(world.where("credit_note", **facts), asked, "/v1/credit_notes")
