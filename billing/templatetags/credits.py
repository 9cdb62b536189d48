"""How numbers are written: credits and counts by `credits`, shares by `percent`, money by `money`; not otherwise.

`extent` draws a share instead, as a length in an SVG.

Credits show the decimals they have and no more; down a column all show as many as the longest, which `places` finds:
`{% with decimals=rows|places %}…{{ row|credits:decimals }}`. Money is in minor units, and shows all its currency has.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

from django import template

register = template.Library()
LEAST = Decimal("0.001")
SIGNS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}
# How many digits of an amount are behind the point, where it is not two.
MINOR_DIGITS = dict.fromkeys(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"], 0
) | dict.fromkeys(["bhd", "jod", "kwd", "omr", "tnd"], 3)


@register.filter
def credits(value: Decimal | int | None, decimals: int | None = None) -> str:
    """Write credits or a count: thousands grouped, the decimals it has, or as many as its column has."""
    if value is None:
        return "–"
    exact = Decimal(value)
    return f"{exact:,.{places([exact]) if decimals is None else decimals}f}"


@register.filter
def percent(share: Decimal | None) -> str:
    """Write a share of 1 as a percentage with one decimal; what is there but rounds to nothing says so."""
    if share is None:
        return "–"
    if 0 < share < LEAST:
        return "<0.1%"
    return f"{(share * 100).quantize(Decimal('0.1'), ROUND_HALF_UP)}%"


def minor_digits(currency: str) -> int:
    """Say how many decimals a currency has."""
    return MINOR_DIGITS.get(currency, 2)


@register.filter
def extent(share: Decimal) -> str:
    """Give a share of 1 as a length in an SVG."""
    return f"{share * 100:.3f}%"


@register.filter
def money(minor: int | None, currency: str) -> str:
    """Write an amount in minor units with its currency's sign, or its code where it has none here."""
    if minor is None:
        return "–"
    digits = minor_digits(currency)
    sign = SIGNS.get(currency) or f"{currency.upper()} "
    return f"{'−' if minor < 0 else ''}{sign}{Decimal(abs(minor)).scaleb(-digits):,.{digits}f}"


@register.filter
def price_tag(minor: int, currency: str) -> str:
    """Write a price in large letters: without minor units where there are none."""
    return money(minor, currency).removesuffix(f".{'0' * minor_digits(currency)}")


@register.filter
def places(column: Iterable[Decimal | int]) -> int:
    """Find how many decimals a column of credits needs."""
    return max((_places(Decimal(value)) for value in column), default=0)


def _places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
