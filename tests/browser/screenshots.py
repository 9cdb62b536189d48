"""`make screenshots`: pictures of every page and state, on contact sheets to look at.

No part of `make test`: what is handsome, no assertion says. The table is that of `states.py`; each look is a test, so
that `make screenshots LOOK=light-390` takes one. The sheets lie in `.data/screenshots`, and their names are printed.
"""

from html import escape
from itertools import batched
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Page

from oxygen_site.postgres import CLONE
from tests.browser.conftest import Open
from tests.browser.states import STATES, State, show
from tests.browser.test_states import world
from tests.browser.world import World

__all__ = ["world"]  # a fixture

FOLDER = CLONE / ".data" / "screenshots"
SHEET = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 12px; display: grid; grid-template-columns: repeat({columns}, {width}px); gap: 16px 12px;
  width: max-content; background: #7a7f85; font: 500 13px sans-serif; color: #fff }}
figure {{ margin: 0 }} img {{ width: 100%; display: block; margin-top: 4px }}
</style>{figures}"""


class Form(NamedTuple):
    """How pictures of a width lie on a sheet: how many, in how many columns, how wide; and where they are cut off."""

    many: int
    columns: int
    width: int
    cut: int


FORMS = {1280: Form(4, 2, 640, 1600), 390: Form(5, 5, 300, 1900), 1920: Form(2, 2, 960, 3200)}
LOOKS = [(theme, width) for theme in ("light", "dark") for width in FORMS]


@pytest.mark.parametrize(("theme", "width"), LOOKS, ids=[f"{theme}-{width}" for theme, width in LOOKS])
def test_pictures_are_taken(
    window: Open, world: World, complaints: list[str], tmp_path: Path, theme: str, width: int, capsys: Any
) -> None:
    pages: dict[str, Page] = {}
    taken: list[tuple[str, Path]] = []
    for number, state in enumerate(state for state in STATES if width < 1920 or state.wide):
        page = pages.pop(state.who, None) or window(
            world.people[state.who], color_scheme=theme, viewport={"width": width, "height": 900}
        )
        show(page, state, world)
        taken.append((state.name, picture(page, state, tmp_path / f"{number}.png")))
        if state.act:
            page.context.close()
        else:
            pages[state.who] = page
    complaints.clear()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob(f"sheet-{theme}-{width}-*.png"):
        old.unlink()
    for number, some in enumerate(batched(taken, FORMS[width].many), 1):
        sheet = FOLDER / f"sheet-{theme}-{width}-{number}.png"
        lay(window(), some, FORMS[width], tmp_path / "sheet.html", sheet)
        with capsys.disabled():
            print(f"\n{sheet.relative_to(CLONE)}: {', '.join(name for name, _ in some)}", end="")


def picture(page: Page, state: State, file: Path) -> Path:
    """Take a page from its top; one with a dialog, an open menu or a failure as the screen has it."""
    if page.locator(".failure").count():
        page.locator(".failure").first.evaluate("each => each.scrollIntoView({block: 'center'})")
    elif state.act:
        page.evaluate("scrollTo(0, 0)")
    size: Any = page.viewport_size
    high = page.evaluate("document.documentElement.scrollHeight")
    clip: Any = {"x": 0, "y": 0, "width": size["width"], "height": min(high, FORMS[size["width"]].cut)}
    if page.locator(":is(dialog[open], :popover-open, .failure)").count():
        page.screenshot(path=file)
    else:
        page.screenshot(path=file, full_page=True, clip=clip)
    return file


def lay(page: Page, some: tuple[tuple[str, Path], ...], form: Form, html: Path, sheet: Path) -> None:
    """Lay pictures on a sheet, each with its name, and take a picture of that."""
    figures = "".join(f"<figure>{escape(name)}<img src='{file.name}'></figure>" for name, file in some)
    html.write_text(SHEET.format(columns=form.columns, width=form.width, figures=figures))
    page.goto(html.as_uri())
    page.locator("body").screenshot(path=sheet)
    page.context.close()
