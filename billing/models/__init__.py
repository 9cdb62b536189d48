"""Ground floor: people and orgs, and the credits they own."""

from .calls import CallCount, KeptAnswer
from .credits import Account, Draw, Entry, Grant, Proof, Reservation, UsageByRun, UsageByTool
from .invitations import Invitation
from .invoices import Invoice
from .keys import ApiKey, Scope
from .orgs import Agency, AgencyStaff, Membership, Organization, Role
from .people import User
from .plans import (
    Customer,
    Pack,
    PaidPeriod,
    Payment,
    Plan,
    PlanChange,
    Price,
    Purchase,
    StripeCheck,
    StripeEvent,
    Subscription,
)
from .top_ups import AutoTopUp, LowBalance

__all__ = [
    "Account",
    "Agency",
    "AgencyStaff",
    "ApiKey",
    "AutoTopUp",
    "CallCount",
    "Customer",
    "Draw",
    "Entry",
    "Grant",
    "Invitation",
    "Invoice",
    "KeptAnswer",
    "LowBalance",
    "Membership",
    "Organization",
    "Pack",
    "PaidPeriod",
    "Payment",
    "Plan",
    "PlanChange",
    "Price",
    "Proof",
    "Purchase",
    "Reservation",
    "Role",
    "Scope",
    "StripeCheck",
    "StripeEvent",
    "Subscription",
    "UsageByRun",
    "UsageByTool",
    "User",
]
