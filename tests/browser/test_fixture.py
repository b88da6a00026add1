"""Mouse, keyboard and touch on the course's own widgets: each time the picture and the state in Python must change."""

import jlab
import pytest

SRC = "e => e.src"
MAP = ".silen-live:has(.silen-map)"


@pytest.fixture(scope="module")
def notebook(course, browser):
    "One kernel for the module: importing torch takes longer than a test."
    with jlab.new_page(browser) as page:
        lab = jlab.Lab(page, course, "fixtures/widgets.ipynb")
        yield lab
        lab.close()


@pytest.fixture
def lab(notebook):
    notebook.run_all()  # a fresh set of widgets for each test
    assert notebook.problems() == []
    return notebook


def text_is(page, selector, test, arg=None):
    page.wait_for_function(
        f"([s, a]) => {{ const t = document.querySelector(s)?.innerText.trim(); return {test}; }}",
        arg=[selector, arg],
    )


def new_picture(page, selector, old):
    page.wait_for_function(
        "([s, old]) => { const e = document.querySelector(s); return e.src !== old && e.complete && e.naturalWidth; }",
        arg=[selector, old],
    )


def center(locator):
    locator.scroll_into_view_if_needed()
    b = locator.bounding_box()
    return b["x"] + b["width"] / 2, b["y"] + b["height"] / 2


def test_slider(lab):
    p, picture = lab.page, ".silen-live:has(.t-slider) img"
    lab.tall_shot("fixture_widgets")
    handle = p.locator(".t-slider .noUi-handle")
    handle.scroll_into_view_if_needed()
    old = p.eval_on_selector(picture, SRC)
    handle.focus()
    p.keyboard.press("ArrowRight")
    new_picture(p, picture, old)
    text_is(p, ".t-k", "t === '1.1'")
    old = p.eval_on_selector(picture, SRC)
    x, y = center(handle)
    p.mouse.move(x, y)
    p.mouse.down()
    p.mouse.move(x + 80, y, steps=8)
    p.mouse.up()
    new_picture(p, picture, old)
    text_is(p, ".t-k", "parseFloat(t) > 2")
    label = p.locator(".t-slider .widget-label")
    assert label.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), "the description is cut off"
    assert lab.problems() == [] and p.refused == []


def test_grid_mouse(lab):
    p, left = lab.page, lab.page.locator(".t-left .silen-px")
    assert left.count() == 30
    left.nth(7).click()
    text_is(p, ".t-count", "t === '1'")
    assert left.nth(7).get_attribute("data-v") == "1"
    p.wait_for_function(
        "() => document.querySelectorAll('.t-right .silen-px')[7].dataset.v === '0'"
    )
    assert p.locator(".t-right .silen-px[data-v='1']").count() == 29
    a, b = center(left.nth(24)), center(left.nth(29))
    p.mouse.move(*a)
    p.mouse.down()
    p.mouse.move(*b, steps=2)  # so fast that pixels are skipped
    p.mouse.up()
    text_is(p, ".t-count", "t === '7'")
    p.locator(".t-right .silen-px").nth(0).click()  # read only
    assert p.locator(".t-right .silen-px").nth(0).get_attribute("data-v") == "1"
    left.nth(7).click()
    text_is(p, ".t-count", "t === '6'")
    assert lab.problems() == []


def test_grid_keyboard(lab):
    p, left = lab.page, lab.page.locator(".t-left .silen-px")
    left.nth(0).click()
    text_is(p, ".t-count", "t === '1'")
    for key in ("ArrowRight", "ArrowDown", "Space"):
        p.keyboard.press(key)
    text_is(p, ".t-count", "t === '2'")
    assert left.nth(7).get_attribute("data-v") == "1"
    for key in ("End", "Enter", "Home", "ArrowUp", "ArrowUp", "ArrowLeft", "Enter"):
        p.keyboard.press(key)
    text_is(p, ".t-count", "t === '2'")  # pixel 11 on, pixel 0 off again
    assert [i for i in range(30) if left.nth(i).get_attribute("data-v") == "1"] == [7, 11]
    assert (
        left.nth(0).get_attribute("tabindex") == "0"
        and left.nth(7).get_attribute("tabindex") == "-1"
    )
    assert p.evaluate("document.activeElement.dataset.i") == "0", "JupyterLab took the focus"
    p.keyboard.press("ArrowRight")
    style = "e => { const s = getComputedStyle(e); return [s.outlineStyle, s.outlineWidth]; }"
    assert left.nth(1).evaluate(style) == ["solid", "3px"], "no focus ring"
    lab.shot("fixture_grid_focus", ".jp-OutputArea-output:has(.t-left)")


def test_grid_speaks(lab):
    grid, pixel = (
        lab.page.locator(".t-left .silen-grid"),
        lab.page.locator(".t-left .silen-px").nth(8),
    )
    assert (
        grid.get_attribute("role") == "grid"
        and lab.page.locator(".t-left .silen-row[role=row]").count() == 5
    )
    assert (
        pixel.get_attribute("aria-label") == "row 2, column 3, paper"
        and pixel.get_attribute("aria-selected") == "false"
    )
    name = lab.page.evaluate(
        "i => document.getElementById(i).innerText", grid.get_attribute("aria-labelledby")
    )
    assert name == "cue"
    assert lab.page.locator(".t-right .silen-grid").get_attribute("aria-readonly") == "true"


def test_map_mouse(lab):
    p, picture = lab.page, f"{MAP} .silen-map-img"
    img = p.locator(picture)
    img.scroll_into_view_if_needed()
    b, old = img.bounding_box(), p.eval_on_selector(picture, SRC)
    p.mouse.click(b["x"] + 3, b["y"] + 3)  # outside the axes
    p.mouse.click(b["x"] + b["width"] * 0.4, b["y"] + b["height"] * 0.5)
    text_is(p, ".t-where", "t.endsWith(',1')")
    new_picture(p, picture, old)
    x, y, _ = map(float, p.inner_text(".t-where").split(","))
    p.mouse.click(b["x"] + b["width"] * 0.5, b["y"] + b["height"] * 0.4)
    text_is(p, ".t-where", "t.endsWith(',2')")
    x2, y2, _ = map(float, p.inner_text(".t-where").split(","))
    assert -2 < x < x2 < 4 and -1 < y < y2 < 1
    ring = center(p.locator(f"{MAP} .silen-ring"))
    assert (
        abs(ring[0] - b["x"] - b["width"] * 0.5) <= 1
        and abs(ring[1] - b["y"] - b["height"] * 0.4) <= 1
    )
    assert lab.problems() == []


def test_map_hits_the_pixel_matplotlib_drew(lab):
    "The orange dot is drawn by matplotlib at (x, y): it must lie under the click."
    p = lab.page
    img = p.locator(f"{MAP} .silen-map-img")
    img.scroll_into_view_if_needed()
    b = img.bounding_box()
    want = (b["width"] * 0.45, b["height"] * 0.3)
    p.mouse.click(b["x"] + want[0], b["y"] + want[1])
    text_is(p, ".t-where", "t.endsWith(',1')")
    p.wait_for_timeout(500)
    found = img.evaluate("""e => { const c = document.createElement('canvas');
        c.width = e.naturalWidth; c.height = e.naturalHeight;
        const g = c.getContext('2d'); g.drawImage(e, 0, 0);
        const d = g.getImageData(0, 0, c.width, c.height).data, s = [0, 0, 0];
        for (let i = 0; i < d.length; i += 4) if (Math.abs(d[i]-213) + Math.abs(d[i+1]-94) + d[i+2] < 12) {
          s[0] += (i/4) % c.width + .5; s[1] += Math.floor(i/4/c.width) + .5; s[2]++; }
        return [s[0]/s[2]*e.clientWidth/e.naturalWidth, s[1]/s[2]*e.clientHeight/e.naturalHeight]; }""")
    assert abs(found[0] - want[0]) < 1 and abs(found[1] - want[1]) < 1, (found, want)


def test_map_keyboard(lab):
    p = lab.page
    stage = p.locator(f"{MAP} .silen-stage")
    stage.scroll_into_view_if_needed()
    p.locator(f"{MAP} .noUi-handle").focus()
    p.keyboard.press("Tab")  # past the readout of the slider
    stage.focus()
    for key in ("ArrowRight", "Shift+ArrowRight", "ArrowUp"):
        p.keyboard.press(key)
    assert p.inner_text(f"{MAP} .silen-said").startswith("x = 1.72"), (
        "the crosshair says where it is"
    )
    lab.shot("fixture_map_focus", MAP)
    p.keyboard.press("Enter")
    text_is(p, ".t-where", "t === '1.7200,0.5400,1'")  # 6·(.02 + .1) and 2·.02 from (1, .5)
    assert stage.get_attribute("role") == "application" and "Arrow keys" in stage.get_attribute(
        "aria-label"
    )


def test_map_follows_its_slider(lab):
    p, picture = lab.page, f"{MAP} .silen-map-img"
    old = p.eval_on_selector(picture, SRC)
    p.locator(f"{MAP} .noUi-handle").focus()
    p.keyboard.press("ArrowRight")
    new_picture(p, picture, old)


def test_a_later_error_is_shown_and_the_picture_stays(lab):
    p = lab.page
    img = p.locator(".t-fail .silen-map-img")
    img.scroll_into_view_if_needed()
    b, src = img.bounding_box(), img.get_attribute("src")
    p.mouse.click(b["x"] + b["width"] * 0.8, b["y"] + b["height"] * 0.5)
    text_is(p, ".t-fail .silen-error", "t === 'ValueError: too far to the right'")
    assert img.get_attribute("src") == src and lab.widget_messages() == [
        "ValueError: too far to the right"
    ]
    lab.shot("fixture_error", ".jp-OutputArea-output:has(.t-fail)")
    p.mouse.move(b["x"] + b["width"] * 0.2, b["y"] + b["height"] * 0.5)  # drag back inside
    p.mouse.down()
    p.mouse.move(b["x"] + b["width"] * 0.3, b["y"] + b["height"] * 0.5, steps=4)
    p.mouse.up()
    p.wait_for_function("() => document.querySelector('.t-fail .silen-error').hidden")


def test_player(lab):
    p = lab.page
    player = p.locator(".silen-player")
    player.scroll_into_view_if_needed()
    img, bar, button = player.locator("img"), player.locator("input"), player.locator("button")
    assert img.evaluate("e => e.naturalWidth") > 100
    before = img.get_attribute("src")
    bar.focus()
    p.keyboard.press("ArrowLeft")
    assert img.get_attribute("src") != before and player.locator("span").inner_text() == "7/8"
    button.click()
    assert button.get_attribute("aria-label") == "pause"
    p.wait_for_function(
        "() => document.querySelector('.silen-player button').getAttribute('aria-label') === 'play'"
    )
    assert player.locator("span").inner_text() == "8/8" and img.get_attribute("src") == before


def test_touch(open_nb, touch_page):
    lab = open_nb("fixtures/widgets.ipynb", on=touch_page)
    lab.run_all()
    p = touch_page
    pixel = p.locator(".t-left .silen-px").nth(3)
    pixel.scroll_into_view_if_needed()
    pixel.tap()
    text_is(p, ".t-count", "t === '1'")
    img = p.locator(f"{MAP} .silen-map-img")
    img.scroll_into_view_if_needed()
    b = img.bounding_box()
    p.touchscreen.tap(b["x"] + b["width"] * 0.4, b["y"] + b["height"] * 0.5)
    text_is(p, ".t-where", "t.endsWith(',1')")
    swipe(p, ".t-left", 24, 29)
    text_is(p, ".t-count", "t === '7'")


def swipe(page, grid, first, last):
    "A finger drawn over the pixels, through Chromium's own input layer."
    page.locator(f"{grid} .silen-px").nth(first).scroll_into_view_if_needed()
    (x0, y0), (x1, y1) = (center(page.locator(f"{grid} .silen-px").nth(i)) for i in (first, last))
    cdp = page.context.new_cdp_session(page)
    for kind, t in [
        ("touchStart", 0),
        *(("touchMove", i / 5) for i in range(1, 6)),
        ("touchEnd", None),
    ]:
        points = [] if t is None else [dict(x=x0 + t * (x1 - x0), y=y0 + t * (y1 - y0))]
        cdp.send("Input.dispatchTouchEvent", dict(type=kind, touchPoints=points))
