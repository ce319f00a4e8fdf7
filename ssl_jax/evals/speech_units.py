"""How well discrete units of speech agree with phones."""

from typing import NamedTuple

import numpy as np


class UnitQuality(NamedTuple):
    """Agreement of units and phones over frames (arXiv:2106.07447, section 4.5).

    Attributes:
      phone_purity: share of frames whose phone is the most frequent one of their unit.
      unit_purity: share of frames whose unit is the most frequent one of their phone.
      pnmi: mutual information divided by the entropy of the phones: the share of their uncertainty that units remove.
    """

    phone_purity: float
    unit_purity: float
    pnmi: float


def unit_quality(units: np.ndarray, phones: np.ndarray) -> UnitQuality:
    """Compares the units and the phones of the same frames.

    Args:
      units: int `[frames]`, from 0.
      phones: int `[frames]`; frames with a negative phone are left out.

    Raises:
      ValueError: no frame has a phone.
    """
    known = phones >= 0
    if not known.any():
        raise ValueError("no frame has a phone")
    joint = np.zeros((units[known].max() + 1, phones[known].max() + 1))
    np.add.at(joint, (units[known], phones[known]), 1)
    joint /= joint.sum()
    of_units, of_phones = joint.sum(1), joint.sum(0)
    there = joint > 0
    information = (joint[there] * np.log(joint[there] / np.outer(of_units, of_phones)[there])).sum()
    entropy = -(of_phones[of_phones > 0] * np.log(of_phones[of_phones > 0])).sum()
    return UnitQuality(
        float(joint.max(1).sum()),
        float(joint.max(0).sum()),
        float(information / entropy) if entropy > 0 else 0.0,
    )
