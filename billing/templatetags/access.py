"""What the person at a page may do there, for what it shows and what it offers; `billing/access.py` says it."""

from typing import Any

from django import template

from billing import access

register = template.Library()


@register.simple_tag(takes_context=True)
def may(context: Any, right: str) -> bool:
    """Say whether whoever looks at an org's page has a right there."""
    return access.may(context["request"].role, right)
