#!/bin/sh
# The demo, for machines without make: ./demo.sh [port]
set -eu
cd "$(dirname "$0")"
[ -x .venv/bin/oxygen ] && .venv/bin/python -c 'import django' 2>/dev/null || ./bootstrap.sh requirements.txt
exec .venv/bin/python manage.py up --demo --port "${1:-${PORT:-8000}}"
