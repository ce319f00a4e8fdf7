"""The page of `ssl_jax.report` in a real browser: Chromium without a window, as Debian's package `chromium` has it."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.figure import Figure

from ssl_jax import report
from ssl_jax.data.wav import write_wav
from ssl_jax.evals.plots import save_figure
from tests import processes

BROWSER = shutil.which("chromium")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium")

FRAME = """<!DOCTYPE html><body style="margin: 0"><pre id="found"></pre>
<iframe width="{width}" height="800" style="border: 0" srcdoc="{page}"></iframe><script>
const frame = document.querySelector("iframe");
frame.onload = async () => {{
  const page = frame.contentDocument, view = frame.contentWindow;
  page.querySelectorAll("details").forEach((one) => {{ one.open = true; }});
  await Promise.all([...page.images].map((image) => image.decode().catch(() => null)));
  const requests = view.performance.getEntriesByType("resource").map((one) => one.name);
  document.getElementById("found").textContent = JSON.stringify({{
    images: [...page.images].map((image) => [image.naturalWidth, image.getBoundingClientRect().width]),
    sounds: [...page.querySelectorAll("audio")].map((sound) => sound.error === null),
    requests: requests.filter((address) => !address.startsWith("data:")),
    wide: page.documentElement.scrollWidth - view.innerWidth,
    colour: view.getComputedStyle(page.body).color,
    text: page.body.innerText.length,
  }});
}};
</script>"""


def opened(page, width, folder):
    """What the browser finds in a page of so many pixels' width, and what its console says."""
    frame = folder / f"{width}.html"
    frame.write_text(FRAME.format(width=width, page=html.escape(page.read_text(), quote=True)))
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
    ]
    options += [
        "--enable-logging=stderr",
        "--virtual-time-budget=200000",
        f"--user-data-dir={folder / 'profile'}",
    ]
    found = subprocess.run(
        [BROWSER, *options, "--dump-dom", f"file://{frame}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    dumped = re.search(r'<pre id="found">(.*?)</pre>', found.stdout, re.DOTALL)[1]
    return json.loads(html.unescape(dumped)), re.findall(r"CONSOLE.*", found.stderr)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of two runs of minimal, one of which has a picture and a recording with HTML in their names."""
    folder = tmp_path_factory.mktemp("page")
    runs = [folder / "one", folder / "two <script>alert(1)<script>"]
    for run in runs:
        processes.run(
            "experiments.minimal", ["--steps", 40, "--train.log_every", 10, "--train.eval_every", 20], run
        )
    (runs[1] / "samples").mkdir()
    save_figure(Figure(), runs[1] / "samples" / "<img src=x>.png")
    write_wav(runs[1] / "samples" / "a.wav", np.sin(np.arange(4000) / 9), 8000)
    assert report.main([*map(str, runs), "--output", str(folder / "page.html")]) == 0
    return folder / "page.html"


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_opens_whole(page, width, tmp_path):
    found, console = opened(page, width, tmp_path)
    assert console == []
    assert found["requests"] == []
    assert len(found["images"]) >= 6
    for natural, shown in found["images"]:
        assert natural > 0
        assert 100 < shown <= width
    assert found["sounds"] == [True]
    assert found["wide"] <= 0, "the page is wider than the screen"
    assert found["colour"] == "rgb(27, 31, 36)"
    assert found["text"] > 1000


def test_the_check_sees_what_is_wrong(page, tmp_path):
    """A page that asks the network, has a broken picture, and is too wide."""
    worse = tmp_path / "worse.html"
    addition = '<img src="http://127.0.0.1:9/x.png" alt="x"><img src="data:image/png;base64,AAAA" alt="y">'
    addition += '<div style="width: 3000px">x</div><script>alert(1)</script>'
    worse.write_text(page.read_text().replace("</main>", f"{addition}</main>"))
    found, console = opened(worse, 360, tmp_path)
    assert any("Content Security Policy" in line for line in console)
    assert min(natural for natural, _ in found["images"]) == 0
    assert found["wide"] > 2000
