"""Who and what is in the demo: people, organizations, lists of rows, and the columns that tools fill on them.

Plain data for `story.py` and `seed_demo`. All of it is invented; addresses end in .example.
"""

from typing import NamedTuple

PASSWORD = "oxygen-demo"  # noqa: S105 - known to everybody, like all of the demo


class Person(NamedTuple):
    email: str
    name: str
    who: str


class Org(NamedTuple):
    """`pace`: how often somebody starts a run there. `people`: who does, by e-mail. `agency`: a client of Harbor."""

    name: str
    zone: str
    pace: str
    people: tuple[str, ...] = ("harriet@harbor.example",)
    agency: bool = True


class List(NamedTuple):
    """A CSV file that is imported as a table; `kind` says which columns suit it."""

    file: str
    name: str
    kind: str


class Filling(NamedTuple):
    """A column with its cascade. `weight`: how often it is chosen, of all of its kind."""

    key: str
    name: str
    cascade: tuple[str, ...]
    weight: int


class Buyer(NamedTuple):
    """Who subscribes to what. `later_card` takes the card's place afterwards, `next_plan` comes at the renewal."""

    org: str
    by: str
    plan: str
    interval: str = "month"
    card: str = "4242424242424242"
    later_card: str = ""
    next_plan: str = ""
    days: int = 0  # how long ago


PEOPLE = (
    Person("alice@acme.example", "Alice Adler", "owner of Acme"),
    Person("bob@acme.example", "Bob Brennan", "member of Acme: starts runs, steers his own"),
    Person("vera@acme.example", "Vera Voss", "viewer at Acme"),
    Person("harriet@harbor.example", "Harriet Hale", "staff of the agency Harbor, with 40 clients"),
    Person("mallory@globex.example", "Mallory Moss", "owner of Globex"),
    Person("ops@oxygen.example", "Oxygen operations", "operator, at /admin"),
)
OPERATOR = "ops@oxygen.example"
AGENCY = "Harbor"
STAFF = ("harriet@harbor.example",)
MEMBERS = {
    "Acme": {"alice@acme.example": "owner", "bob@acme.example": "member", "vera@acme.example": "viewer"},
    "Globex": {"mallory@globex.example": "owner"},
}

ACME = Org("Acme", "Europe/Lisbon", "daily", ("alice@acme.example", "bob@acme.example"), agency=False)
GLOBEX = Org("Globex", "America/New_York", "often", ("mallory@globex.example",), agency=False)
CLIENTS = (
    Org("Northwind Labs", "Europe/London", "often"),
    Org("Tamarind Robotics", "America/Chicago", "often"),
    Org("Calder Studio", "Europe/Madrid", "often"),
    Org("Quillon Foods", "Europe/Berlin", "often"),
    Org("Solace Freight", "Europe/Amsterdam", "sometimes"),
    Org("Brightwater Energy", "Europe/Dublin", "sometimes"),
    Org("Monarch Health", "America/Toronto", "sometimes"),
    Org("Fenwick Logistics", "Europe/London", "sometimes"),
    Org("Ostrava Capital", "Europe/Prague", "sometimes"),
    Org("Halden Dental", "Europe/Oslo", "sometimes"),
    Org("Pinecrest Foods", "America/Los_Angeles", "sometimes"),
    Org("São Bento Têxtil", "America/Sao_Paulo", "sometimes"),
    Org("Vantage Logistics", "Asia/Singapore", "sometimes"),
    Org("Wexford Energy", "Europe/Dublin", "sometimes"),
    Org("Yarrow Studio", "Europe/London", "short"),
    Org("Silverton Labs", "Australia/Sydney", "short"),
    Org("Basalt Climbing", "Europe/Zurich", "quiet"),
    Org("Juniper & Rye", "America/New_York", "quiet"),
    Org("Kestrel Insurance", "Europe/Paris", "quiet"),
    Org("Larkspur Media", "Europe/Vienna", "quiet"),
    Org("Meridian Eye Care", "Asia/Kolkata", "quiet"),
    Org("Monarch Dental", "America/Toronto", "quiet"),
    Org("Northwind Security", "Europe/London", "quiet"),
    Org("Ørsund Marine", "Europe/Copenhagen", "quiet"),
    Org("Pagoda Tea House", "Asia/Hong_Kong", "quiet"),
    Org("Redshank Outdoor", "Pacific/Auckland", "quiet"),
    Org("Tollgate Brewing", "Europe/Brussels", "quiet"),
    Org("Umbra Lighting", "Europe/Rome", "quiet"),
    Org("Vantage Foods", "Asia/Singapore", "quiet"),
    Org("Verdant Roofing", "America/Denver", "quiet"),
    Org(
        "Worshipful Company of Cordwainers, Saddlers and Allied Leather Trades of Lower Wensleydale",
        "Europe/London",
        "quiet",
    ),
    Org("Yarrow Freight", "Europe/London", "quiet"),
    Org("Zephyr Cycles", "Europe/Amsterdam", "quiet"),
    Org("Bäckerei Sauerländer", "Europe/Berlin", "new"),
    Org("Halden Energy", "Europe/Oslo", "new"),
    Org("Młyn Białowieża", "Europe/Warsaw", "new"),
    Org("Yarrow Capital", "Europe/London", "new"),
    Org("واحة للخدمات اللوجستية", "Asia/Dubai", "new"),
    Org("青葉ソフト", "Asia/Tokyo", "new"),
    Org("Solace Dental Partners", "America/Chicago", "new"),
)
ORGS = (ACME, GLOBEX, *CLIENTS)

FAILS = "4000000000000341"  # can be saved, and says no to every charge
HARRIET = "harriet@harbor.example"
BUYERS = (
    Buyer("Acme", "alice@acme.example", "starter", days=17),
    Buyer("Northwind Labs", HARRIET, "growth", "year", "5555555555554444", days=38),
    Buyer("Tamarind Robotics", HARRIET, "scale", next_plan="growth"),
    Buyer("Calder Studio", HARRIET, "starter", days=9),
    Buyer("Quillon Foods", HARRIET, "starter", later_card=FAILS, days=33),
)

WORLDWIDE = List("worldwide-accounts.csv", "Worldwide accounts", "companies")
LISTS = (
    List("target-accounts.csv", "Target accounts", "companies"),
    List("dach-manufacturers.csv", "DACH manufacturers", "companies"),
    List("mediterranean-distributors.csv", "Mediterranean distributors", "companies"),
    List("q4-outbound-leads.csv", "Q4 outbound leads", "people"),
    List("conference-list.csv", "Conference list", "people"),
    List("churned-trials.csv", "Churned trials", "people"),
    List("seed-stage-fintech.csv", "Seed-stage fintech", "people"),
    List("webinar-sign-ups.csv", "Webinar sign-ups", "people"),
)
RESEARCH = Filling("research", "Company research", ("openai.web_research",), 0)
FILLINGS = {
    "companies": (
        Filling("company", "Company facts", ("apollo.company_enrich", "peopledatalabs.company_enrich"), 5),
        Filling("industry", "Classify industry", ("openai.classify",), 5),
        Filling("news", "Company news summary", ("anthropic.summarize",), 5),
        Filling("technologies", "Technologies", ("builtwith.technologies",), 3),
        Filling("angle", "Opening angle", ("openai.ai_column",), 5),
        Filling("in-crm", "Already in HubSpot", ("hubspot.company_lookup",), 2),
        Filling("account", "Salesforce account", ("salesforce.account_upsert",), 1),
    ),
    "people": (
        Filling(
            "work_email",
            "Find work emails",
            ("hunter.email_finder", "prospeo.email_finder", "findymail.email_finder"),
            6,
        ),
        Filling(
            "second_email",
            "Find further emails",
            ("dropcontact.email_finder", "icypeas.email_finder", "leadmagic.email_finder"),
            4,
        ),
        Filling("verified", "Verify emails", ("hunter.email_verifier",), 3),
        Filling("phone", "Find mobile numbers", ("leadmagic.mobile_finder", "datagma.mobile_finder"), 2),
        Filling("mobile", "Mobile numbers, wider", ("prospeo.mobile_finder",), 1),
        Filling(
            "person",
            "Enrich people",
            ("apollo.people_match", "peopledatalabs.person_enrich", "datagma.person_enrich"),
            5,
        ),
        Filling("opener", "Write an opener", ("openai.ai_column",), 6),
        Filling("reply", "Draft a follow-up", ("anthropic.ai_column",), 3),
        Filling("icebreaker", "Write an icebreaker", ("openai.ai_column", "anthropic.ai_column"), 0),
        Filling("profile", "LinkedIn profile", ("linkedin.profile_lookup",), 2),
        Filling("crm", "HubSpot contact", ("hubspot.contact_upsert",), 3),
        Filling("campaign", "Add to Smartlead", ("smartlead.add_to_campaign",), 2),
    ),
}
