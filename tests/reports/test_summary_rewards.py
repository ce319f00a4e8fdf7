"""How far a reward orders texts as ROUGE does."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from ssl_jax.reports.summary_rewards import agreement


def test_it_is_the_mean_rank_correlation_within_an_article_and_the_choice_of_the_reward():
    chance = np.random.default_rng(0)
    rouges = chance.random((20, 8)) + np.arange(20)[:, None]  # articles differ far more than the codes of one
    rewards = rouges + chance.normal(size=(20, 8)) - 3 * np.arange(20)[:, None]
    each = [spearmanr(*pair).statistic for pair in zip(rewards, rouges, strict=True)]
    found = agreement(rewards, rouges)
    assert found["correlation"] == pytest.approx(np.mean(each))
    assert found["standard_error"] == pytest.approx(np.std(each) / np.sqrt(20))
    chosen = [row[reward.argmax()] for row, reward in zip(rouges, rewards, strict=True)]
    assert found["rouge_1_of_best"] == pytest.approx(np.mean(chosen))


def test_articles_whose_codes_are_alike_are_left_out_of_the_correlation():
    rouges = np.array([[0.1, 0.2, 0.3], [0.5, 0.5, 0.5]])
    found = agreement(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]), rouges)
    assert found == pytest.approx({"correlation": 1.0, "standard_error": 0.0, "rouge_1_of_best": 0.4})
    assert agreement(np.zeros((2, 3)), rouges)["correlation"] == 0
