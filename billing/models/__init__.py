"""Ground floor: people and orgs, and the credits they own."""

from .credits import Account, Draw, Entry, Grant, Proof, Reservation, UsageByRun, UsageByTool
from .orgs import Agency, AgencyStaff, Membership, Organization, Role
from .people import User

__all__ = [
    "Account",
    "Agency",
    "AgencyStaff",
    "Draw",
    "Entry",
    "Grant",
    "Membership",
    "Organization",
    "Proof",
    "Reservation",
    "Role",
    "UsageByRun",
    "UsageByTool",
    "User",
]
