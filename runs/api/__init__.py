"""The upper floor's operations of the JSON API, a module for each subject. `oxygen_site/urls.py` mounts `routers`."""

from runs.api import planes

routers = [planes.router]
