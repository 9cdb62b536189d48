"""Operations of the JSON API about runs: what can be bought, on which rows, and what was found. A room for each."""

from runs.api import catalog, cells, tables

routers = [catalog.router, tables.router, cells.router]
