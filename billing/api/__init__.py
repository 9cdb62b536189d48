"""Operations of the JSON API about credits and money. Reads, each of one instant.

What is shown is declared here field by field, and nothing else gets out. `docs/api.md` tells people.
"""

from billing.api import balance, grants, subscription, usage

routers = [balance.router, grants.router, usage.router, subscription.router]
