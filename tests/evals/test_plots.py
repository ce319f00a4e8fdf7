"""Curves of runs: what shares a figure, which colours they have, and baselines beside them."""

from matplotlib.colors import to_hex

from ssl_jax.evals.plots import draw_curves


def lines(**metrics):
    """Two lines of training and one of an evaluation, which has these metrics."""
    return [{"step": 1, **metrics}, {"step": 2, **metrics}, {"step": 2, "split": "heldout", **metrics}]


def curves(figure):
    """The colour of each line by its label."""
    return {line.get_label(): to_hex(line.get_color()) for line in figure.axes[0].lines}


def test_every_metric_of_every_run_has_a_colour_of_its_own():
    run = lines(mlm_loss=3.0, nsp_loss=0.5, mlm_accuracy=0.2)
    drawn = draw_curves({"one": run, "two": run}, ["mlm_loss", "nsp_loss", "mlm_accuracy"])
    assert [*drawn] == ["loss", "accuracy"]
    colours = curves(drawn["loss"])
    assert len(colours) == 8
    assert len({*colours.values()}) == 4
    for run in ("one", "two"):
        for loss in ("mlm_loss", "nsp_loss"):
            assert colours[f"{run} {loss} train"] == colours[f"{run} {loss} heldout"]


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_a_legend_names_each_run_each_metric_and_each_split_once():
    run = lines(mlm_loss=3.0, nsp_loss=0.5)
    assert legend(draw_curves({"a": run}, ["mlm_loss"])["loss"]) == ["train", "heldout"]
    assert legend(draw_curves({"a": run, "b": run}, ["mlm_loss"])["loss"]) == ["a", "b", "train", "heldout"]
    (rare,) = draw_curves({"a": run, "b": lines(x_loss=1.0)}, ["x_loss"]).values()
    assert legend(rare) == ["b", "train", "heldout"]
    both = legend(draw_curves({"a$x$": run, "b": run}, ["mlm_loss", "nsp_loss"])["loss"])
    assert both[:2] == [r"a\$x\$ mlm_loss", r"a\$x\$ nsp_loss"]
    assert len(both) == 6


def test_shares_are_in_percent():
    figure = draw_curves({"a": lines(macro_f1=0.5)}, ["macro_f1"], {"macro_f1": {"always": 0.25}})["f1"]
    figure.canvas.draw()
    assert figure.axes[0].yaxis.get_ticklabels()[1].get_text().endswith("%")
    assert legend(figure)[-1] == "always 25.0%"


def test_long_curves_are_means_of_what_lies_together():
    long = [{"step": step, "loss": float(step % 10)} for step in range(1, 100_001)]
    (line,) = draw_curves({"a": long}, ["loss"])["loss"].axes[0].lines
    steps, values = line.get_data()
    assert len(steps) == 1000
    assert (steps[0], steps[-1], values[0]) == (50.5, 99_950.5, 4.5)


def test_a_curve_of_one_point_is_seen():
    (line,) = draw_curves({"a": [{"step": 1, "loss": 2.0}]}, ["loss"])["loss"].axes[0].lines
    assert line.get_marker() == "o"


def test_different_objectives_have_figures_of_their_own():
    runs = {"a": lines(simclr_loss=4.0, probe_accuracy=0.5), "b": lines(byol_loss=1.0, probe_accuracy=0.6)}
    drawn = draw_curves(runs, ["simclr_loss", "byol_loss", "probe_accuracy"])
    assert [*drawn] == ["simclr_loss", "byol_loss", "accuracy"]
    assert [*curves(drawn["byol_loss"])] == ["b byol_loss train", "b byol_loss heldout"]
    assert len(curves(drawn["accuracy"])) == 4


def test_baselines_are_dashed_lines_with_their_values():
    drawn = draw_curves(
        {"run": lines(bits_per_byte=2.0, mlm_accuracy=0.5)},
        ["bits_per_byte", "mlm_accuracy"],
        {"bits_per_byte": {"bz2": 2.649, "1-grams": 4.657}, "mlm_accuracy": {"neighbours": 0.346}},
    )
    of_bits = {line.get_label(): line for line in drawn["bits_per_byte"].axes[0].lines}
    assert [*of_bits][2:] == ["1-grams 4.657", "bz2 2.649"]
    assert [*of_bits["bz2 2.649"].get_ydata()] == [2.649] * 2
    assert of_bits["bz2 2.649"].get_linestyle() == "--"
    assert "neighbours 34.6%" in curves(drawn["accuracy"])
