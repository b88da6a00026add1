"""How long from an input to the new picture on the screen?

Measured inside the page: from the browser's own keydown or pointer event to the `load` of the new image, so the time
of the test driver does not count. A window is twenty inputs; its 95th percentile is close to its worst. We ask that the
best of three windows stays within 150 ms: a slow program is slow in all of them, a busy neighbour only in some.

On a shared machine even that is unfair. Before and after each window a computation is timed by the wall clock and by
the processor's own: undisturbed they agree, and their ratio is the noise. A picture passes two processes that must
wait for a core one after the other, the kernel and the browser, so the limit is multiplied by the noise squared: never
less than 1, and at most 4, so that the test cannot pass by waiting. `tests/test_widgets.py` bounds the processor time
of a redraw, which a neighbour hardly changes.
"""

import math
import statistics
import time

import jlab
import pytest

LIMIT, WINDOWS, INPUTS = 150.0, 3, 20
PROBE = """([selector, event]) => { const img = document.querySelector(selector); let start = null;
    window.delays = [];
    window.probe?.abort(); window.probe = new AbortController();
    const o = { capture: true, signal: window.probe.signal };
    document.addEventListener(event, () => { start = performance.now(); }, o);
    img.addEventListener('load', () => { if (start === null) return;
      window.delays.push(performance.now() - start); start = null; }, o); }"""


def refused(seconds: float = 0.15) -> float:
    "Wall time over processor time of a computation: 1 when nobody else wants the core."
    wall, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < seconds:
        math.sqrt(2)
    return (time.perf_counter() - wall) / (time.process_time() - cpu)


def percentile(values, q):
    return sorted(values)[min(len(values) - 1, math.ceil(q * len(values)) - 1)]


def measure(page, picture, event, act):
    "INPUTS delays in ms; the next input comes 30 ms after the last picture, as from a hand."
    page.evaluate(PROBE, [picture, event])
    for n in range(1, INPUTS + 1):
        act(n)
        page.wait_for_function("n => window.delays.length >= n", arg=n, polling=10)
        page.wait_for_timeout(30)
    return page.evaluate("window.delays")


@pytest.fixture(scope="module")
def lab(course, browser):
    with jlab.new_page(browser) as page:
        lab = jlab.Lab(page, course, "fixtures/widgets.ipynb")
        lab.run_all()
        yield lab
        lab.close()


def judge(name, page, picture, event, act, record_property):
    windows, noise = [], []
    for _ in range(WINDOWS):
        before = refused()
        windows.append(measure(page, picture, event, act))
        noise.append(max(1.0, before, refused()))
    p95s, median = [percentile(w, 0.95) for w in windows], statistics.median(sum(windows, []))
    best = min(p95s[i] / min(noise[i] ** 2, 4.0) for i in range(WINDOWS))
    said = f"{name}: median {median:.0f} ms, p95 of each window {[round(p) for p in p95s]} ms"
    said += f", noise {[round(n, 2) for n in noise]}"
    for key, value in (("median_ms", median), ("p95_ms", p95s), ("noise", noise)):
        record_property(f"{name} {key}", value)
    print("\n" + said)
    with open(jlab.artefacts() / "latency.txt", "a", encoding="utf-8") as f:
        f.write(time.strftime("%F %T ") + said + "\n")
    assert best <= LIMIT, said


@pytest.mark.parametrize(
    "name, live, slider", [("one panel", 0, 0), ("two panels with colour bars", 1, 0)]
)
def test_slider_to_picture(lab, name, live, slider, record_property):
    p = lab.page
    p.evaluate(
        "n => document.querySelectorAll('.silen-live')[n].querySelector('img').classList.add('t-timed-' + n)",
        live,
    )
    handle = p.locator(".silen-live").nth(live).locator(".noUi-handle").nth(slider)
    handle.scroll_into_view_if_needed()
    handle.focus()
    judge(
        name,
        p,
        f".t-timed-{live}",
        "keydown",
        lambda n: p.keyboard.press("ArrowRight"),
        record_property,
    )


def test_click_to_picture(lab, record_property):
    p, picture = lab.page, ".silen-live .silen-map-img"
    img = p.locator(picture)
    img.scroll_into_view_if_needed()
    b = img.bounding_box()
    judge(
        "click on the map",
        p,
        picture,
        "pointerdown",
        lambda n: p.mouse.click(b["x"] + b["width"] * (0.3 + 0.01 * n), b["y"] + b["height"] * 0.5),
        record_property,
    )


def test_grid_to_python_and_back(lab, record_property):
    "A click on one grid, Python's answer on another."
    p, delays = lab.page, []
    p.locator(".t-left .silen-px").nth(29).click()  # from now on the right grid shows the opposite
    p.wait_for_function(
        "() => document.querySelectorAll('.t-right .silen-px[data-v=\"1\"]').length === 29"
    )
    for n in range(INPUTS):
        pixel = p.locator(".t-left .silen-px").nth(n)
        want = pixel.get_attribute("data-v")  # what the left shows before, the right shows after
        pixel.scroll_into_view_if_needed()
        p.evaluate(
            """([n, want]) => { const e = document.querySelectorAll('.t-right .silen-px')[n];
            let start = null; window.delay = null; const once = { capture: true, once: true };
            document.addEventListener('pointerdown', () => { start = performance.now(); }, once);
            new MutationObserver((_, o) => { if (e.dataset.v !== want) return;
              window.delay = performance.now() - start; o.disconnect(); })
              .observe(e, { attributes: true }); }""",
            [n, want],
        )
        pixel.click()
        p.wait_for_function("() => window.delay !== null", polling=10)
        delays.append(p.evaluate("window.delay"))
    said = f"grid → Python → grid: median {statistics.median(delays):.0f} ms, p95 {percentile(delays, 0.95):.0f} ms"
    record_property("grid_ms", delays)
    print("\n" + said)
    with open(jlab.artefacts() / "latency.txt", "a", encoding="utf-8") as f:
        f.write(time.strftime("%F %T ") + said + "\n")
    assert statistics.median(delays) <= LIMIT * min(max(1.0, refused()) ** 2, 4.0), said
