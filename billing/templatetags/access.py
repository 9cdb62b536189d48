"""What a template may ask the tenancy gate, so that no page links to where its reader may not go."""

from typing import Any

from django import template

from billing import access

register = template.Library()


@register.simple_tag(takes_context=True)
def may(context: Any, right: str) -> bool:
    """Say whether the person at the page has a right in its org."""
    return access.allows(context["request"], right)
