"""What the names of metrics say: which belong together, which are shares, and how people read them."""

import re

SHARE = re.compile(r"(^|_)(accuracy|f1|precision|recall|match|probe|knn|data_wait|mfu)(_|$)")
"""Names of metrics from 0 to 1, which are shown in percent."""
NO_SHARE = re.compile(r"_(loss|labels|error)$")
UNITS = {"kl": "nats", "elbo": "nats"}
"""By kind of metric."""
COLLAPSE = ("embedding_std", "effective_rank", "alignment", "uniformity")
"""Metrics that show a collapse of the representation (`evals.collapse`); they are drawn wherever they are logged."""


def kind(name: str) -> str:
    """The kind of a metric, which is its last word; metrics of one kind share a plot.

    One thing per another is a kind by itself.

    Example:
      >>> kind("mlm_loss"), kind("nsp_loss"), kind("bits_per_byte")
      ('loss', 'loss', 'bits_per_byte')
    """
    return name if "_per_" in name else name.rsplit("_", 1)[-1]


def is_share(name: str) -> bool:
    """Whether a metric is a share, which is shown in percent.

    Example:
      >>> is_share("mlm_accuracy"), is_share("knn_10_per_class"), is_share("probe_loss"), is_share("knn_labels")
      (True, True, False, False)
    """
    return bool(SHARE.search(name)) and not NO_SHARE.search(name)


def plot_title(name: str) -> str:
    """A metric or a kind of metrics as the title of a plot.

    Example:
      >>> plot_title("bits_per_byte"), plot_title("kl"), plot_title("accuracy")
      ('bits per byte', 'kl (nats)', 'accuracy')
    """
    unit = UNITS.get(kind(name))
    return name.replace("_", " ") + (f" ({unit})" if unit else "")


def shown(name: str, value: float) -> str:
    """The value of a metric as it is displayed.

    Example:
      >>> shown("mlm_accuracy", 0.2468), shown("loss", 1.23456), shown("knn_labels", 5000)
      ('24.7%', '1.235', '5,000')
    """
    if is_share(name):
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{value:.4g}"
