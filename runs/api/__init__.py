"""The upper floor's operations of the JSON API, a module for each subject. `oxygen_site/urls.py` mounts `routers`."""

from runs.api import explain, runs, templates, trials

routers = [runs.router, templates.router, trials.router, explain.router]
