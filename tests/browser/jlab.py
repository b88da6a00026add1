"""A real JupyterLab in a real Chromium, driven through Playwright.

    with server(folder) as base, chromium() as browser, new_page(browser) as page:
        lab = Lab(page, base, "00_energy.ipynb")
        lab.run_all()
        assert lab.problems() == []

The page never leaves the loopback interface: any other request is refused and noted in `page.refused`.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
SETTINGS = {  # no news, every cell in the page (not only those in view), nothing saved behind our back
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}

HARMLESS = r"favicon|ERR_ABORTED|ResizeObserver loop"  # said by JupyterLab and the browser, not by a notebook


def find_chromium() -> str | None:
    "The browser: SILEN_CHROMIUM, Debian's place, or the first of the usual names on the path."
    candidates = [
        os.environ.get("SILEN_CHROMIUM"),
        "/usr/bin/chromium",
        *(shutil.which(n) for n in ("chromium", "chromium-browser", "google-chrome")),
    ]
    return next((c for c in candidates if c and os.access(c, os.X_OK)), None)


def artefacts() -> pathlib.Path:
    "Where screenshots go: SILEN_ARTEFACTS or tests/artefacts (ignored by git)."
    folder = pathlib.Path(os.environ.get("SILEN_ARTEFACTS", ROOT / "tests" / "artefacts"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def copy_course(target: pathlib.Path) -> pathlib.Path:
    "The notebooks and their data in the layout of the repository, outside it; no test writes into the tree."
    shutil.copytree(
        ROOT / "nbs",
        target / "nbs",
        ignore=shutil.ignore_patterns(".ipynb_checkpoints", ".progress.json"),
    )
    shutil.copy(ROOT / "settings.ini", target)  # the root is recognised by it
    (target / "data").mkdir(exist_ok=True)
    for f in (ROOT / "data").iterdir():
        os.symlink(f, target / "data" / f.name)
    return target / "nbs"


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _environment(home: pathlib.Path) -> dict:
    "Nothing of the user's Jupyter: own config, data, runtime, settings and workspaces; the kernel is this Python."
    for plugin, values in SETTINGS.items():
        f = home / "settings" / (plugin + ".jupyterlab-settings")
        f.parent.mkdir(parents=True, exist_ok=True)
        f.write_text(json.dumps(values), encoding="utf-8")
    own = {
        k: str(home / v)
        for k, v in dict(
            JUPYTER_CONFIG_DIR="config",
            JUPYTER_DATA_DIR="data",
            JUPYTER_RUNTIME_DIR="runtime",
            IPYTHONDIR="ipython",
            JUPYTERLAB_SETTINGS_DIR="settings",
            JUPYTERLAB_WORKSPACES_DIR="workspaces",
            SILEN_PROGRESS="progress.json",
        ).items()
    }
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = {k: v for k, v in os.environ.items() if k not in ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH")}
    return dict(
        env,
        **own,
        PATH=path,
        PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        WANDB_MODE=os.environ.get("WANDB_MODE", "offline"),
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def server(folder: pathlib.Path, timeout: float = 90):
    "JupyterLab serving `folder` on a free loopback port, without a token; yields its address."
    home = pathlib.Path(tempfile.mkdtemp(prefix="silen-lab-"))
    base = f"http://127.0.0.1:{(port := _free_port())}"
    options = [
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--ServerApp.ip=127.0.0.1",
        "--IdentityProvider.token=",
        "--ServerApp.password=",
        f"--ServerApp.root_dir={folder}",
        "--ServerApp.terminals_enabled=False",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        "--ServerApp.open_browser=False",
        "--allow-root",
    ]
    env = _environment(home)
    with open(home / "log", "wb") as log:
        lab = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            stdout=log,
            stderr=log,
            cwd=folder,
            env=env,
            start_new_session=True,
        )
        try:
            end = time.time() + timeout
            while not _answers(base + "/api/status"):
                if lab.poll() is not None or time.time() > end:
                    said = (home / "log").read_text(encoding="utf-8", errors="replace")
                    raise RuntimeError("JupyterLab did not start:\n" + said[-3000:])
                time.sleep(0.2)
            yield base
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(lab.pid, signal.SIGTERM)
            try:
                lab.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(lab.pid, signal.SIGKILL)
                lab.wait()
            shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def chromium():
    "A browser with a fresh profile. Playwright allows one at a time in a process."
    with sync_playwright() as pw:
        browser = pw.chromium.launch(executable_path=find_chromium(), headless=True, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def new_page(browser: Browser, width: int = 1200, height: int = 1000, touch: bool = False):
    "A page of its own. `page.complaints` collects console errors, `page.refused` requests to the outside."
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=touch)
    page = context.new_page()
    page.complaints, page.refused = [], []
    page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: page.complaints.append(str(e)))

    def guard(route):
        url = route.request.url
        if url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            return route.continue_()
        page.refused.append(url)
        route.abort()

    page.route("**/*", guard)
    try:
        yield page
    finally:
        context.close()


class Lab:
    "One notebook open in JupyterLab, alone on the page."

    def __init__(self, page: Page, base: str, notebook: str, timeout: float = 90):
        self.page, self.base, self.notebook = page, base, notebook
        page.complaints.clear()
        page.goto(f"{base}/doc/tree/{notebook}?reset", wait_until="domcontentloaded")
        page.wait_for_selector(".jp-NotebookPanel .jp-Notebook .jp-Cell", timeout=timeout * 1000)
        self._await_kernel(timeout)

    def close(self) -> None:
        "End the kernel, so that a run over many chapters holds one at a time."
        for s in self._sessions():
            with contextlib.suppress(OSError):
                urllib.request.urlopen(
                    urllib.request.Request(f"{self.base}/api/sessions/{s['id']}", method="DELETE"),
                    timeout=20,
                )

    def _sessions(self) -> list:
        with urllib.request.urlopen(self.base + "/api/sessions", timeout=20) as r:
            return json.load(r)

    def _await_kernel(self, timeout: float) -> None:
        """Ask the server: the page says idle before a kernel exists, and a Run All pressed then opens a
        dialog. A dialog that is there already (unknown kernel name) is accepted: the only kernel is ours."""
        end = time.time() + timeout
        while time.time() < end:
            if accept := self.page.query_selector(".jp-Dialog .jp-mod-accept"):
                accept.click()
            kernels = [
                s["kernel"] for s in self._sessions() if s["path"] == self.notebook and s["kernel"]
            ]
            if any(k["connections"] and k["execution_state"] == "idle" for k in kernels):
                break
            self.page.wait_for_timeout(100)
        else:
            raise TimeoutError(f"no idle kernel for {self.notebook} within {timeout} s")
        self._await_idle(timeout)

    def _await_idle(self, timeout: float) -> None:
        self.page.wait_for_selector(
            ".jp-Notebook-ExecutionIndicator[data-status=idle]",
            state="attached",
            timeout=timeout * 1000,
        )

    def run_all(self, timeout: float = 300) -> None:
        "Press Run All and wait: every started cell has its number, the kernel is idle, the widgets are drawn."
        prompts = """() => [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')]
            .map(c => (c.querySelector('.jp-InputPrompt') || {}).textContent || '')"""
        before = self.page.evaluate(prompts)
        self.page.complaints.clear()
        self.page.click(".lm-MenuBar-itemLabel:text-is('Run')")
        self.page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
        self.page.wait_for_function(
            f"""before => {{ const p = ({prompts})();
            return p.some((t, i) => /\\d/.test(t) && t !== before[i]) && !p.some(t => t.includes('*')); }}""",
            arg=before,
            timeout=timeout * 1000,
        )
        self._await_idle(timeout)
        self._await_views()

    def _await_views(self, timeout: float = 30) -> None:
        "The kernel is idle before the last widgets are drawn; wait for those too."
        with contextlib.suppress(Exception):  # a view that never comes is reported by `problems`
            self.page.wait_for_function(
                """() => [...document.querySelectorAll('.jp-Notebook .jp-OutputArea-output')].every(
                e => e.dataset.mimeType?.startsWith('text/plain') ||
                     ((e.childElementCount || e.innerText.trim()) && !/^Loading widget/.test(e.innerText)))""",
                timeout=timeout * 1000,
            )

    def errors(self) -> list[str]:
        """Tracebacks anywhere in the outputs, also inside Output and interact widgets, which no other runner reports;
        and cells that did not run. JupyterLab gives an error the mime type of stderr, so the text decides."""
        texts = self.page.eval_on_selector_all(
            ".jp-Notebook [data-mime-type='application/vnd.jupyter.stderr'],"
            ".jp-Notebook [data-mime-type='application/vnd.jupyter.error']",
            "es => es.map(e => e.innerText)",
        )
        return [t for t in texts if "Traceback" in t] + self._not_run()

    def _not_run(self) -> list[str]:
        "Code cells with an open source and no number: those behind an exception. A collapsed cell shows no prompt."
        prompts = self.page.eval_on_selector_all(
            ".jp-Notebook .jp-CodeCell:not(:has(.jp-Cell-inputArea.lm-mod-hidden)):not(:has(.jp-Placeholder))",
            """cs => cs.filter(c => (c.querySelector('.cm-content')?.innerText || '').trim())
                       .map(c => [c.querySelector('.jp-InputPrompt')?.textContent || '',
                                  c.querySelector('.cm-content').innerText])""",
        )
        return [
            f"not executed: {source[:60]!r}"
            for prompt, source in prompts
            if not any(ch.isdigit() for ch in prompt)
        ]

    def dead_widgets(self) -> list[str]:
        "Outputs where a widget was promised and did not come."
        return self.page.eval_on_selector_all(
            ".jp-Notebook .jp-OutputArea-output",
            """es => es.map(e => e.innerText).filter(t =>
            /Error (displaying|creating) widget|Loading widget|show javascript error|model not found/i.test(t))""",
        )

    def widget_messages(self) -> list[str]:
        "The red messages of `live` and `ClickMap`."
        return self.page.eval_on_selector_all(
            ".silen-error", "es => es.map(e => e.innerText.trim()).filter(t => t)"
        )

    def console(self) -> list[str]:
        "What the page complained about: a widget view that throws says so nowhere else."
        return [
            f"console: {t.splitlines()[0][:200]}"
            for t in self.page.complaints
            if not re.search(HARMLESS, t)
        ]

    def problems(self) -> list[str]:
        return self.errors() + self.dead_widgets() + self.widget_messages() + self.console()

    def shot(self, name: str, selector: str | None = None) -> pathlib.Path:
        "A picture of the window, or of one element, in the artefact folder."
        path = artefacts() / f"{name}.png"
        if selector:
            self.page.locator(selector).first.screenshot(path=str(path))
        else:
            self.page.screenshot(path=str(path))
        return path

    def widget_shots(self, name: str) -> int:
        "A picture of each output that holds a widget or a player; how many there were."
        widgets = ":has(.jupyter-widgets, .silen-map, .silen-pixels, .silen-player)"
        outputs = self.page.locator(f".jp-Cell-outputArea > .jp-OutputArea-child{widgets}")
        for i in range(outputs.count()):
            if outputs.nth(i).is_visible():
                outputs.nth(i).screenshot(path=str(artefacts() / f"{name}_{i}.png"))
        return outputs.count()

    def tall_shot(self, name: str, height: int = 8000) -> pathlib.Path:
        "The whole notebook, up to `height` pixels: the window grows for the picture and shrinks again."
        size, boxes = (
            self.page.viewport_size,
            "document.querySelectorAll('.jp-NotebookPanel-notebook, .jp-NotebookPanel-notebook *')",
        )
        want = (
            self.page.evaluate(
                f"() => Math.max(...[...{boxes}].slice(0, 20).map(e => e.scrollHeight))"
            )
            + 130
        )
        self.page.set_viewport_size(dict(size, height=max(size["height"], min(int(want), height))))
        self.page.evaluate(f"() => [...{boxes}].slice(0, 20).forEach(e => {{ e.scrollTop = 0; }})")
        self.page.wait_for_timeout(500)
        path = self.shot(name)
        self.page.set_viewport_size(size)
        self.page.wait_for_timeout(200)
        return path


def write_fixtures(sources: pathlib.Path, target: pathlib.Path) -> None:
    "Turn scripts with `# %%` cells into notebooks."
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    target.mkdir(exist_ok=True)
    for f in sorted(sources.glob("*.py")):
        cells = [
            c.split("\n", 1)[1].strip()
            for c in ("\n" + f.read_text(encoding="utf-8")).split("\n# %%")[1:]
        ]
        nb = new_notebook(
            cells=[new_code_cell(c) for c in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(nb, target / f"{f.stem}.ipynb")
