"""Curves of runs that differ in their seed alone: which lines there are, and what is printed below them."""

import numpy as np

from ssl_jax.evals.repeats_plot import draw_repeats


def test_each_seed_and_the_mean_of_a_source():
    curves = {"old": [[(10, 1.0), (20, 0.5)], [(10, 2.0), (20, 0.1)]], "new": [[(10, 3.0), (20, 2.0)]]}
    figure = draw_repeats({"a": curves, "b": curves, "c": curves}, "loss", ["a table", "of two lines"])
    assert len(figure.axes) == 3
    for axes in figure.axes:
        drawn = [np.asarray(line.get_xydata()).tolist() for line in axes.lines]
        *seeds, mean, single = drawn
        assert seeds == [[[10, 1.0], [20, 0.5]], [[10, 2.0], [20, 0.1]]]
        np.testing.assert_allclose(mean, [[10, 1.5], [20, 0.3]])
        assert single == [[10, 3.0], [20, 2.0]]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["old", "new"]
    assert [text.get_text() for text in figure.texts] == ["a table\nof two lines"]
