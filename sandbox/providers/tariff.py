"""What each tool bills, how long it takes and how often it finds something, as its provider would publish it.

The product's catalog has estimated and maximum prices of its own; this is the other side's, and the two may differ.
"""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Tariff:
    """`lowest` to `highest` is billed for a result, `missed` for a call that found nothing; delays in seconds."""

    answers: str
    lowest: Decimal
    highest: Decimal
    finds: float
    quickest: float
    slowest: float
    missed: Decimal = Decimal(0)


def _tool(answers: str, cost: str, finds: float, delay: tuple[float, float], missed: str = "0") -> Tariff:
    lowest, _, highest = cost.partition("-")
    return Tariff(
        answers,
        Decimal(lowest),
        Decimal(highest or lowest),
        finds,
        *delay,
        missed=Decimal(missed),
    )


TARIFFS: dict[str, Tariff] = {
    "anthropic.ai_column": _tool("text", "0.8-3.6", 0.99, (1.2, 4.0)),
    "anthropic.summarize": _tool("summary", "0.6-2.4", 0.98, (1.0, 3.5)),
    "apollo.company_enrich": _tool("company", "1", 0.86, (0.4, 1.2)),
    "apollo.job_changes": _tool("person", "2", 0.35, (0.6, 1.8)),
    "apollo.people_match": _tool("person", "1", 0.74, (0.4, 1.4)),
    "builtwith.technologies": _tool("technologies", "1", 0.91, (0.5, 1.5)),
    "datagma.mobile_finder": _tool("phone", "6-8", 0.33, (0.9, 2.6)),
    "datagma.person_enrich": _tool("person", "1.2", 0.66, (0.6, 1.9)),
    "dropcontact.email_finder": _tool("email", "1.1", 0.57, (0.9, 2.8)),
    "findymail.email_finder": _tool("email", "1", 0.63, (0.6, 1.8)),
    "hubspot.company_lookup": _tool("crm", "0", 0.62, (0.2, 0.6)),
    "hubspot.contact_upsert": _tool("crm", "0", 0.99, (0.2, 0.7)),
    "hunter.email_finder": _tool("email", "1", 0.58, (0.4, 1.3)),
    "hunter.email_verifier": _tool("verification", "0.5", 0.97, (0.3, 0.9), missed="0.5"),
    "icypeas.email_finder": _tool("email", "0.5", 0.49, (0.7, 2.2), missed="0.1"),
    "leadmagic.email_finder": _tool("email", "1", 0.55, (0.5, 1.6)),
    "leadmagic.mobile_finder": _tool("phone", "5", 0.38, (0.6, 2.0)),
    "linkedin.profile_lookup": _tool("profile", "0", 0.88, (0.5, 1.6)),
    "openai.ai_column": _tool("text", "0.5-3.2", 0.99, (0.9, 3.0)),
    "openai.classify": _tool("classification", "0.4-0.9", 0.99, (0.4, 1.4)),
    "openai.web_research": _tool("research", "0.05-0.15", 0.97, (10.0, 20.0)),
    "peopledatalabs.company_enrich": _tool("company", "1.1", 0.83, (0.3, 0.9)),
    "peopledatalabs.person_enrich": _tool("person", "2.2", 0.69, (0.3, 1.0)),
    "prospeo.email_finder": _tool("email", "1", 0.61, (0.5, 1.7)),
    "prospeo.mobile_finder": _tool("phone", "8-10", 0.41, (0.8, 2.4)),
    "salesforce.account_upsert": _tool("crm", "0", 0.98, (0.3, 0.9)),
    "smartlead.add_to_campaign": _tool("campaign", "0", 0.99, (0.2, 0.6)),
}
