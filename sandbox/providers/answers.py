"""What a tool finds for a row: made from the row itself, so that it looks right, and of nothing that exists.

Domains end in .example as the rows' own do; telephone numbers come from the ranges kept for films and books.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from sandbox.providers.temper import Dice

type Row = dict[str, Any]
type Maker = Callable[[Row, Dice], dict[str, Any]]

PHONES = {
    "GB": ("+44 7700 900", 0, 999, 3),
    "FR": ("+33 6 39 98 ", 0, 9999, 4),
    "DE": ("+49 30 23125 ", 0, 999, 3),
    "IE": ("+353 20 910 ", 0, 9999, 4),
    "AU": ("+61 491 570 ", 156, 159, 3),
}
ANYWHERE = ("+1 202 555 ", 100, 199, 4)
SPELT = {ord(letter): plain for letter, plain in {"ß": "ss", "ø": "o", "ł": "l", "æ": "ae", "đ": "d", "ı": "i"}.items()}
INDUSTRIES = (
    "Software", "Financial services", "Logistics", "Medical devices", "Machinery", "Food production", "Insurance",
    "Renewable energy", "Retail", "Education", "Construction", "Media", "Chemicals", "Hospitality", "Biotechnology",
)  # fmt: skip
SECTORS = {
    "Software": (
        "software",
        "data",
        "cloud",
        "labs",
        "systems",
        "soft",
        "ソフト",
        "数据",
    ),
    "Financial services": (
        "pay",
        "bank",
        "capital",
        "ledger",
        "fintech",
        "finance",
        "kredit",
    ),
    "Logistics": ("freight", "logist", "cargo", "spedition", "transport", "物流"),
    "Medical devices": ("medi", "dental", "health", "klinik", "santé", "salud"),
    "Machinery": ("maschinen", "werk", "mechan", "robot", "antrieb", "機械"),
    "Food production": (
        "food",
        "brot",
        "kaffee",
        "coffee",
        "alimentos",
        "食品",
        "dairy",
    ),
    "Renewable energy": ("solar", "wind", "energ", "éolien"),
    "Construction": ("bau", "beton", "timber", "construc"),
}
STACKS = (
    "Google Analytics", "Segment", "Shopify", "WordPress", "React", "Cloudflare", "HubSpot", "Salesforce", "Stripe",
    "Intercom", "Zendesk", "Snowflake", "Kubernetes", "Next.js", "Magento", "Marketo", "PostgreSQL", "Nginx",
)  # fmt: skip
EVENTS = (
    "opened a second site", "signed a distribution partner", "hired a new head of sales", "moved billing to usage",
    "published its first sustainability report", "closed a funding round", "entered two neighbouring markets",
    "replaced its customer platform", "began shipping a self-service plan", "took over a smaller competitor",
)  # fmt: skip
NEEDS = (
    "cleaner account data before the next territory split", "a shorter path from sign-up to first call",
    "fewer hand-offs between sales and operations", "proof of savings before the budget round",
    "one view of customers across countries", "a way to reach plant managers directly",
)  # fmt: skip


def _of(row: Row, *names: str) -> str:
    """The row's first cell that is not empty under any of these names."""
    cells = {name.casefold().replace(" ", "_"): str(cell).strip() for name, cell in row.items() if cell}
    return next((cells[name] for name in names if cells.get(name)), "")


def _company(row: Row) -> str:
    return _of(row, "company", "organization", "account", "name") or "The company"


def _domain(row: Row) -> str:
    return _of(row, "domain", "website").removeprefix("https://").strip("/") or "unknown.example"


def _latin(name: str) -> str:
    plain = name.casefold().translate(SPELT)
    return re.sub(r"[^a-z]", "", unicodedata.normalize("NFKD", plain))


def _mailbox(row: Row, dice: Dice) -> str:
    """first.last in the company's own manner; names in other scripts by the Latin spelling of their profile."""
    first, last = _latin(_of(row, "first_name")), _latin(_of(row, "last_name"))
    if not (first and last):
        spelt = _of(row, "profile").rpartition("/")[2].split("-")
        first, last = (spelt[0], spelt[-1]) if len(spelt) > 1 else ("", "")
    if not (first and last):
        return dice.one_of("mailbox", ("hello", "office", "info"))
    manner = Dice(_domain(row)).number("manner", 0, 3)
    return (f"{first}.{last}", f"{first[0]}{last}", first, f"{last}.{first}")[manner]


def _industry(row: Row, dice: Dice) -> str:
    name = f"{_company(row)} {_domain(row)}".casefold()
    likely = (sector for sector, words in SECTORS.items() if any(word in name for word in words))
    return next(likely, None) or dice.one_of("industry", INDUSTRIES)


def email(row: Row, dice: Dice) -> dict[str, Any]:
    return {
        "email": f"{_mailbox(row, dice)}@{_domain(row)}",
        "confidence": dice.number("confidence", 78, 99),
    }


def verification(row: Row, dice: Dice) -> dict[str, Any]:
    status = dice.one_of("status", ("deliverable",) * 7 + ("accept_all", "risky", "undeliverable"))
    address = _of(row, "email") or f"{_mailbox(row, dice)}@{_domain(row)}"
    return {"email": address, "status": status, "mx": f"mx1.{_domain(row)}"}


def phone(row: Row, dice: Dice) -> dict[str, Any]:
    prefix, lowest, highest, digits = PHONES.get(_of(row, "country").upper(), ANYWHERE)
    return {
        "phone": f"{prefix}{dice.number('phone', lowest, highest):0{digits}d}",
        "type": "mobile",
    }


def company(row: Row, dice: Dice) -> dict[str, Any]:
    size = dice.number("size", 0, 5)
    headcount = dice.number("headcount", 4 * 4**size, 16 * 4**size)
    return {
        "name": _company(row),
        "domain": _domain(row),
        "industry": _industry(row, dice),
        "headcount": headcount,
        "founded": dice.number("founded", 1921, 2023),
        "city": _of(row, "city"),
        "country": _of(row, "country"),
        "revenue_eur": headcount * dice.number("per head", 60, 240) * 1000,
    }


def person(row: Row, dice: Dice) -> dict[str, Any]:
    return {
        "name": " ".join(filter(None, (_of(row, "first_name"), _of(row, "last_name")))) or _of(row, "founder", "name"),
        "title": _of(row, "title", "job_title") or dice.one_of("title", ("Head of Operations", "Founder", "Buyer")),
        "company": _company(row),
        "seniority": dice.one_of("seniority", ("c_level", "vp", "director", "manager", "senior")),
        "since": f"{dice.number('year', 2014, 2026)}-{dice.number('month', 1, 9):02d}",
        "email": f"{_mailbox(row, dice)}@{_domain(row)}",
    }


def profile(row: Row, dice: Dice) -> dict[str, Any]:
    about = _of(row, "title", "job_title") or "Working"
    return {
        "url": _of(row, "profile") or f"https://people.example/in/{_mailbox(row, dice).replace('.', '-')}",
        "headline": f"{about} at {_company(row)}",
        "connections": dice.number("connections", 40, 500),
    }


def technologies(row: Row, dice: Dice) -> dict[str, Any]:
    found = sorted(STACKS, key=dice.share)[: dice.number("technologies", 3, 8)]
    return {"domain": _domain(row), "technologies": sorted(found)}


def text(row: Row, dice: Dice) -> dict[str, Any]:
    first = _of(row, "first_name") or "there"
    event = dice.one_of("event", EVENTS)
    return {"text": f"Hi {first}, I saw that {_company(row)} {event}. Teams like yours then look for {_need(dice)}."}


def summary(row: Row, dice: Dice) -> dict[str, Any]:
    place = f" from {_of(row, 'city')}" if _of(row, "city") else ""
    sector, event = _industry(row, dice).lower(), dice.one_of("event", EVENTS)
    return {"summary": f"{_company(row)} is a {sector} company{place} that {event} this year."}


def classification(row: Row, dice: Dice) -> dict[str, Any]:
    return {
        "industry": _industry(row, dice),
        "fit": dice.one_of("fit", ("strong", "strong", "possible", "possible", "weak")),
        "score": dice.number("score", 12, 98),
    }


def research(row: Row, dice: Dice) -> dict[str, Any]:
    facts = company(row, dice)
    events = sorted(EVENTS, key=dice.share)[:3]
    return {
        "brief": f"{facts['name']} ({facts['industry'].lower()}, about {facts['headcount']} people) {events[0]} "
        f"and {events[1]}. It likely needs {_need(dice)}.",
        "signals": events,
        "sources": [
            f"https://{facts['domain']}/news",
            f"https://{facts['domain']}/careers",
        ],
    }


def crm(row: Row, dice: Dice) -> dict[str, Any]:
    return {
        "record": f"{dice.number('record', 10**9, 10**10 - 1)}",
        "created": dice.share("created") < 0.7,
    }


def campaign(row: Row, dice: Dice) -> dict[str, Any]:
    return {"lead": f"{dice.number('lead', 10**7, 10**8 - 1)}", "status": "queued"}


def _need(dice: Dice) -> str:
    return dice.one_of("need", NEEDS)


ANSWERS: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        email, verification, phone, company, person, profile,
        technologies, text, summary, classification, research, crm, campaign,
    )
}  # fmt: skip
