"""What an org must hear first, for whatever brings its balance: its own page, and what is said to its runs there."""

from typing import Any

from django import template

from billing import access, top_ups
from billing import notices as told
from billing.balance import Balance

register = template.Library()


@register.simple_tag(takes_context=True)
def notices(context: Any, balance: Balance) -> list[told.Notice]:
    """Say what is wrong with the request's org, as this person may do something about it. Two queries."""
    request = context["request"]
    wish, asked = top_ups.of(request.org), top_ups.asked(request.org)
    may_buy = access.may(request.role, "plan")
    return told.notices(request.org, balance.standing, may_buy=may_buy, wish=wish, asked=asked)
