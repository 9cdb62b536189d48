"""Every page and state of the table: axe finds nothing, the console says nothing, nothing is wider than the screen."""

import re
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import pytest_playwright_axe
from playwright.sync_api import Page

from tests.browser.conftest import Open
from tests.browser.states import STATES, State, show
from tests.browser.world import World, made
from tests.effort import SOAK
from tests.runs.conftest import Providers
from tests.sandbox.stripe.local import Sandbox

AXE = (Path(pytest_playwright_axe.__file__).parent / "resources" / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag21a", "wcag2aa", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]
LOOKS = [("light", 1280), ("dark", 390), ("dark", 1280), ("light", 390)]
EXPECTED = re.compile(
    r"Failed to load resource|htmx:|Response Status Error Code"
)  # of a state in which a request fails


@pytest.fixture
def world(sold: Sandbox, site: str, providers: Providers, tmp_path: Path) -> World:
    return made(sold, providers, tmp_path)


def faults(page: Page) -> list[Any]:
    page.evaluate(AXE)
    found = page.evaluate(
        "rules => axe.run({runOnly: {type: 'tag', values: rules}, resultTypes: ['violations']})", RULES
    )
    return [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found["violations"]]


def wider(page: Page) -> list[str]:
    fits = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    return [] if fits else ["wider than the screen"]


def looks() -> Iterator[tuple[State, str, int]]:
    """In `make test` each tenth state, light and wide or dark and narrow in turn; in the soak all, four ways."""
    if SOAK:
        return ((state, theme, width) for theme, width in LOOKS for state in STATES)
    return ((state, theme, width) for state, (theme, width) in zip(STATES[::10], cycle(LOOKS[:2]), strict=False))


def test_no_page_in_no_state_has_anything_for_axe_to_find(window: Open, world: World, complaints: list[str]) -> None:
    pages: dict[Any, Page] = {}
    found: list[str] = []
    for state, theme, width in looks():
        facts: Any = {"color_scheme": theme, "viewport": {"width": width, "height": 900}}
        look = (state.who, theme, width)
        page = pages.pop(look, None) or window(world.people[state.who], **facts)
        try:
            show(page, state, world)
            page.evaluate("scrollTo(0, 0)")  # or the head of the page would lie over what axe measures
            wrong = [*faults(page), *wider(page)]
        except AssertionError as error:
            wrong = [str(error).partition("\n")[0]]
        spared = EXPECTED if state.fails or state.status != 200 else re.compile("$")
        wrong += [said for said in complaints if not spared.match(said)]
        found += [f"{state.name}, {theme}, {width}: {each}" for each in wrong]
        complaints.clear()
        if state.act:
            page.context.close()  # it may be left in no state to go on from
        else:
            pages[look] = page
    assert not found, "\n".join(found)
