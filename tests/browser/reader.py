"""A reader who tries every widget on the page: no chapter has to be known beforehand.

`try_widgets(lab)` moves each slider a step, toggles a pixel of each grid, clicks each map, presses each button and
player, and returns what went wrong as a list of sentences, together with a count of what was tried.
"""

from collections import Counter

from playwright.sync_api import Error, TimeoutError

WAIT = 15_000  # ms: a slow picture is the latency test's business, not ours


def try_widgets(lab) -> tuple[Counter, list[str]]:
    seen, wrong = Counter(), []
    for trial in (_sliders, _grids, _maps, _buttons, _players):
        try:
            trial(lab.page, seen, wrong)
        except Error as e:
            wrong.append(f"{trial.__name__[1:]}: {str(e).splitlines()[0]}")
    lab.page.wait_for_timeout(300)
    lab._await_idle(60)
    return seen, wrong + lab.problems()


def _changes(page, js: str, arg, old, wait: int = WAIT) -> bool:
    try:
        page.wait_for_function(
            f"([arg, old]) => JSON.stringify(({js})(arg)) !== old", arg=[arg, old], timeout=wait
        )
    except TimeoutError:
        return False
    return True


def _value(page, js: str, arg) -> str:
    return page.evaluate(f"arg => JSON.stringify(({js})(arg))", arg)


PICTURES = (
    "n => [...document.querySelectorAll('.silen-live')[n].querySelectorAll('img')].map(e => e.src)"
)
NOW = "i => document.querySelectorAll('.noUi-handle')[i].getAttribute('aria-valuetext')"
BOX = """i => { const l = document.querySelectorAll('.noUi-handle')[i].closest('.silen-live');
               return l ? [...document.querySelectorAll('.silen-live')].indexOf(l) : -1; }"""


def _sliders(page, seen, wrong) -> None:
    handles = page.locator(".jp-Notebook .noUi-handle")
    for i in range(handles.count()):
        handle = handles.nth(i)
        if handle.evaluate("e => !!e.closest('[disabled]')") or not handle.is_visible():
            continue
        box = page.evaluate(BOX, i)
        before, value = (_value(page, PICTURES, box) if box >= 0 else None), _value(page, NOW, i)
        handle.scroll_into_view_if_needed()
        handle.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(50)
        if _value(page, NOW, i) == value:
            page.keyboard.press("ArrowLeft")  # it stood at its end
        seen["sliders"] += 1
        if not _changes(page, NOW, i, value):
            wrong.append(f"slider {i} does not move")
        elif box >= 0 and not _picture_follows(page, box, before):
            wrong.append(f"slider {i} moves, its picture does not change")


def _picture_follows(page, box, before) -> bool:
    "One step may be too small to see (a ball at rest takes one step more): then the ends of the slider must show."
    for key in (None, "Home", "End"):
        if key:
            page.keyboard.press(key)
        if _changes(page, PICTURES, box, before, 3_000 if key is None else WAIT):
            return True
    return False


def _grids(page, seen, wrong) -> None:
    grids = page.locator(".jp-Notebook .silen-grid:not(.silen-readonly)")
    for i in range(grids.count()):
        pixel = grids.nth(i).locator(".silen-px").first
        if not pixel.is_visible():
            continue
        pixel.scroll_into_view_if_needed()
        seen["grids"] += 1
        before = pixel.get_attribute("data-v")
        pixel.click()
        if pixel.get_attribute("data-v") == before:
            wrong.append(f"grid {i} does not take a click")
        page.keyboard.press("Space")
        if pixel.get_attribute("data-v") != before:
            wrong.append(f"grid {i} does not take Space")


def _maps(page, seen, wrong) -> None:
    maps, said = (
        page.locator(".jp-Notebook .silen-map"),
        "i => document.querySelectorAll('.silen-map .silen-said')[i].textContent",
    )
    ring = "i => document.querySelectorAll('.silen-map .silen-ring')[i].style.cssText"
    for i in range(maps.count()):
        stage = maps.nth(i).locator(".silen-stage")
        if not stage.is_visible():
            continue
        stage.scroll_into_view_if_needed()
        seen["maps"] += 1
        before, words = _value(page, ring, i), _value(page, said, i)
        stage.focus()
        for _ in range(2):  # at an edge, turn back
            for key in (
                ("Shift+ArrowRight", "Shift+ArrowUp")
                if _ == 0
                else ("Shift+ArrowLeft", "Shift+ArrowDown", "Shift+ArrowLeft")
            ):
                page.keyboard.press(key)
            page.keyboard.press("Enter")
        if _value(page, ring, i) == before or _value(page, said, i) == words:
            wrong.append(f"map {i} does not take the keyboard")
        before = _value(page, ring, i)
        cross = (
            maps.nth(i)
            .locator(".silen-cross")
            .evaluate("e => [parseFloat(e.style.left), parseFloat(e.style.top)]")
        )
        b = maps.nth(i).locator("img").bounding_box()
        middle = 8 if cross[0] < 50 else -8
        page.mouse.click(
            b["x"] + (cross[0] + middle) / 100 * b["width"], b["y"] + cross[1] / 100 * b["height"]
        )
        if _value(page, ring, i) == before:
            wrong.append(f"map {i} does not take a click")


def _buttons(page, seen, wrong) -> None:
    buttons = page.locator(".jp-Notebook .jp-OutputArea button.jupyter-button:not([disabled])")
    for i in range(buttons.count()):
        if not buttons.nth(i).is_visible():
            continue
        buttons.nth(i).click()
        seen["buttons"] += 1
        page.wait_for_timeout(100)


def _players(page, seen, wrong) -> None:
    players = page.locator(".jp-Notebook .silen-player")
    for i in range(players.count()):
        img, button = players.nth(i).locator("img"), players.nth(i).locator("button")
        before = img.get_attribute("src")
        button.click()
        seen["players"] += 1
        if not _changes(
            page, "i => document.querySelectorAll('.silen-player img')[i].src", i, f'"{before}"'
        ):
            wrong.append(f"player {i} does not play")
        if button.get_attribute("aria-label") == "pause":
            button.click()
