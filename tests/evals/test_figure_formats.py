"""Figures beside PNG in other formats, for papers."""

from etils import epath

from ssl_jax.evals.figure_formats import also_as
from ssl_jax.evals.plots import new_axes, save_figure


def test_figures_are_also_written_as_pdf_and_svg(tmp_path):
    figure, _ = new_axes(title="a title")
    file = epath.Path(tmp_path / "a.png")
    save_figure(figure, file)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    with also_as(("pdf", "svg")):
        save_figure(figure, file)
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert contents["a.png"].startswith(b"\x89PNG")
    assert contents["a.pdf"].startswith(b"%PDF")
    assert b"a title</text>" in contents["a.svg"]
    with also_as(("pdf", "svg")):
        save_figure(figure, file)
    assert contents == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    save_figure(figure, epath.Path(tmp_path / "b.png"))
    assert not (tmp_path / "b.pdf").exists()
