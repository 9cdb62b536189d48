"""The upper floor's operations of the JSON API, a module for each subject. `oxygen_site/urls.py` mounts `routers`."""

from runs.api import catalog, cells, explain, planes, runs, tables, templates, trials

routers = [
    catalog.router,
    tables.router,
    cells.router,
    runs.router,
    templates.router,
    trials.router,
    explain.router,
    planes.router,
]
