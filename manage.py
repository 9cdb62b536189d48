#!/usr/bin/env python
"""Run a management command of Oxygen Billing. `manage.py up --demo` is the whole thing in one process tree."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oxygen_site.settings")
    if sys.argv[1:2] == ["up"] and "--demo" in sys.argv:
        os.environ.setdefault("OXYGEN_ENV", "demo")  # settings are read before any command can see its options
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as wrong:
        sys.exit(str(wrong))


if __name__ == "__main__":
    main()
