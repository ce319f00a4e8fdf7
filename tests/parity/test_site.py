"""The site of docs/ builds without a warning, and every page is in its contents."""

import re
import subprocess
import sys

import pytest

from tests.processes import ROOT

pytest.importorskip("mkdocs")


def test_the_site_builds(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    assert len(pages) > 10
    home = (tmp_path / "site" / "index.html").read_text()
    assert not [page for page in pages if f'href="{page}.html"' not in home]
    reference = (tmp_path / "site" / "reference" / "losses.html").read_text()
    assert "ssl_jax.losses.joint_embedding.correlation.barlow_twins" in reference
    addresses = re.findall(r'(?:src|rel="stylesheet" href)="(https?:[^"]*)"', home)
    assert not addresses, "the site loads something from elsewhere"
