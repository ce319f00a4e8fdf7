import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ssl_jax.errors import UserError
from ssl_jax.evals import probes
from ssl_jax.evals.probes import few_label_probe, label_subset, linear_probe, standardise


@pytest.fixture(scope="module")
def digits():
    """(train, labels, test, labels): every sixth image is a test image."""
    images, labels = load_digits(return_X_y=True)
    images, test = (images / 16).astype(np.float32), np.arange(len(labels)) % 6 == 0
    return images[~test], labels[~test], images[test], labels[test]


def clouds(rng, examples, width=6, classes=3, distance=1.5):
    """Gaussian clouds that overlap a little, on very different scales per dimension."""
    centres = np.random.default_rng(7).normal(size=(classes, width)) * distance
    labels = np.arange(examples) % classes
    scale = np.logspace(-2, 3, width)
    return ((centres[labels] + rng.normal(size=(examples, width))) * scale + 5).astype(np.float32), labels


def problem(seed=0, train=150, test=90, **options):
    rng = np.random.default_rng(seed)
    return *clouds(rng, train, **options), *clouds(rng, test, **options)


def test_standardise_uses_the_training_moments_only():
    rng = np.random.default_rng(0)
    train, test = rng.normal(3, 2, (50, 4)).astype(np.float32), rng.normal(size=(20, 4)).astype(np.float32)
    train[:, 2] = test[:, 2] = 0.1
    ours = standardise(train, test)
    reference = StandardScaler().fit(train)
    for got, features in zip(ours, (train, test), strict=True):
        np.testing.assert_allclose(got, reference.transform(features), atol=1e-5)
        assert got.dtype == np.float32
        assert np.abs(got[:, 2]).max() < 1e-6


@pytest.mark.parametrize("penalty", [1e-4, 0.03, 1.0])
@pytest.mark.parametrize("classes", [2, 3])
def test_linear_probe_is_logistic_regression(penalty, classes):
    train, train_labels, test, test_labels = problem(distance=0.7, classes=classes)
    ours = linear_probe(train, train_labels, test, test_labels, penalties=(penalty,))
    scaler = StandardScaler().fit(train)
    # a mean loss with a penalty is a summed loss with C = 1 / (penalty * examples)
    reference = LogisticRegression(C=1 / (penalty * len(train)), solver="newton-cholesky", tol=1e-5).fit(
        scaler.transform(train), train_labels
    )
    np.testing.assert_array_equal(ours.predictions, reference.predict(scaler.transform(test)))
    assert ours.accuracy == reference.score(scaler.transform(test), test_labels)
    assert ours.penalty == penalty
    assert 0.4 < ours.accuracy < 1


def test_the_penalty_is_the_best_on_held_out_training_examples():
    # 60 of 64 dimensions are noise: without a penalty the classifier learns the noise
    rng = np.random.default_rng(1)
    labels = np.arange(400) % 2
    features = rng.normal(size=(400, 64)).astype(np.float32)
    features[:, :4] += 0.5 * (2 * labels[:, None] - 1)
    data = features[:100], labels[:100], features[100:], labels[100:]
    chosen = linear_probe(*data)
    accuracies = [linear_probe(*data, penalties=(penalty,)).accuracy for penalty in probes.PENALTIES]
    assert chosen.penalty > 1e-2
    assert chosen.accuracy > accuracies[0] + 0.05
    assert chosen.accuracy >= max(accuracies) - 0.05


@pytest.mark.parametrize("probe", [linear_probe, few_label_probe])
def test_test_labels_are_only_counted(probe, monkeypatch):
    train, train_labels, test, test_labels = problem(distance=0.5)
    fits = []
    original = probes._fitted

    def recorded(*args):
        fits.append(original(*args))
        return fits[-1]

    monkeypatch.setattr(probes, "_fitted", recorded)
    options = {"per_class": 6, "repeats": 2} if probe is few_label_probe else {}
    permuted = np.random.default_rng(3).permutation(test_labels)
    honest = probe(train, train_labels, test, test_labels, **options)
    probe(train, train_labels, test, permuted, **options)
    half = len(fits) // 2
    for a, b in zip(fits[:half], fits[half:], strict=True):
        assert a.penalty == b.penalty
        np.testing.assert_array_equal(a.predictions, b.predictions)
        assert b.accuracy == (b.predictions == permuted).mean() != a.accuracy
    assert (honest.accuracy if probe is linear_probe else honest.mean) > 0.5


def test_predictions_are_in_the_given_labels():
    train, train_labels, test, test_labels = problem()
    names = np.array([40, 7, 1000])
    renamed = linear_probe(train, names[train_labels], test, names[test_labels])
    assert set(renamed.predictions) == set(names)
    assert renamed.accuracy > 0.9


@pytest.mark.parametrize("per_class", [4, 20])
def test_label_subset_is_balanced(per_class):
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 5], [100, 40, 20]))
    chosen = label_subset(labels, per_class=per_class, seed=0)
    assert np.unique(labels[chosen], return_counts=True)[1].tolist() == [per_class] * 3
    assert len(set(chosen)) == len(chosen)
    assert (np.sort(chosen) == chosen).all()
    np.testing.assert_array_equal(chosen, label_subset(labels, per_class=per_class, seed=0))
    assert set(chosen) != set(label_subset(labels, per_class=per_class, seed=1))


def test_label_subset_draws_every_example_equally_often():
    labels = np.repeat([0, 1], [5, 10])
    drawn = np.concatenate([label_subset(labels, per_class=2, seed=seed) for seed in range(3000)])
    expected = 3000 * 2 / np.array([5, 10])[labels]
    chi_square = ((np.bincount(drawn, minlength=15) - expected) ** 2 / expected).sum()
    assert chi_square < 34.5  # 99.9 % point of 13 degrees of freedom; draws without replacement vary less


def test_few_labels_fit_on_the_subset_alone():
    train, train_labels, test, test_labels = problem()
    found = few_label_probe(train, train_labels, test, test_labels, per_class=4, repeats=3, seed=5)
    scaler = StandardScaler().fit(train)
    expected = []
    for repeat in range(3):
        chosen = label_subset(train_labels, per_class=4, seed=5 + repeat)
        model = LogisticRegression(C=1 / (probes.FIXED_PENALTY * 12), solver="newton-cholesky", tol=1e-5)
        model.fit(scaler.transform(train[chosen]), train_labels[chosen])
        expected.append(model.score(scaler.transform(test), test_labels))
    assert found.accuracies == tuple(expected)
    assert found.mean == pytest.approx(np.mean(expected))
    assert found.deviation == pytest.approx(np.std(expected, ddof=1))


def test_few_labels_of_wide_features_are_fitted_in_the_space_of_their_rows(monkeypatch):
    train, train_labels, test, test_labels = problem(width=40, distance=0.7)
    fits = []
    original = probes._fitted
    monkeypatch.setattr(probes, "_fitted", lambda *args: fits.append(args[0].shape) or original(*args))
    found = few_label_probe(train, train_labels, test, test_labels, per_class=4, repeats=2)
    assert fits == [(12, 12)] * 2
    monkeypatch.setattr(probes, "_in_row_space", lambda *both: both)
    assert few_label_probe(train, train_labels, test, test_labels, per_class=4, repeats=2) == found
    assert fits[2:] == [(12, 40)] * 2


def test_more_labels_are_better(digits):
    few = few_label_probe(*digits, per_class=10)
    share = few_label_probe(*digits, per_class=15)
    full = linear_probe(*digits)
    assert 0.86 < few.mean < 0.93
    assert 0 < few.deviation < 0.06
    assert few.mean < share.mean < full.accuracy
    assert 0.96 < full.accuracy < 0.99


def unlabelled(train, train_labels, test, test_labels):
    return train, np.where(np.arange(len(train)) < 3, -1, train_labels), test, test_labels


def unlabelled_test(train, train_labels, test, test_labels):
    return train, train_labels, test, np.full_like(test_labels, -1)


def one_class(train, train_labels, test, test_labels):
    return train, np.zeros_like(train_labels), test, test_labels


def narrower(train, train_labels, test, test_labels):
    return train, train_labels, test[:, 1:], test_labels


def not_finite(train, train_labels, test, test_labels):
    return train, train_labels, np.where(np.arange(len(test))[:, None] == 1, np.nan, test), test_labels


def too_few_labels(train, train_labels, test, test_labels):
    return train, train_labels[1:], test, test_labels


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (unlabelled, "labels are missing for a probe: 3 of 150 training examples"),
        (unlabelled_test, "labels are missing for a probe: 90 of 90 test examples"),
        (one_class, "all training examples are of class 0"),
        (narrower, "6 wide, test features 5"),
        (not_finite, "test features of a probe are not finite in 1 of 90"),
        (too_few_labels, r"\(150, 6\), their labels \(149,\)"),
    ],
)
@pytest.mark.parametrize("probe", [linear_probe, lambda *data: few_label_probe(*data, per_class=2)])
def test_what_cannot_be_probed_is_named(probe, corrupt, message):
    with pytest.raises(UserError, match=message):
        probe(*corrupt(*problem()))


def test_classes_with_too_few_examples_are_named():
    train, train_labels, test, test_labels = problem()
    with pytest.raises(UserError, match="class 0 has 50 labelled examples, too few for 51 per class"):
        few_label_probe(train, train_labels, test, test_labels, per_class=51)


def test_single_examples_of_classes_can_be_probed():
    train, train_labels, test, test_labels = problem()
    every = np.array([np.flatnonzero(train_labels == label)[0] for label in range(3)])
    found = linear_probe(train[every], train_labels[every], test, test_labels)
    assert found.penalty == probes.FIXED_PENALTY
    one_rare = np.r_[np.flatnonzero(train_labels < 2), every[2]]
    assert linear_probe(train[one_rare], train_labels[one_rare], test, test_labels).accuracy > 0.6


def test_few_labels_of_many_classes():
    centres = 3 * np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    labels = np.arange(80) % 40
    features = centres[labels] + np.random.default_rng(1).normal(size=(80, 16)).astype(np.float32)
    found = few_label_probe(features, labels, features, labels, per_class=1, repeats=2)
    assert found.mean > 0.9
