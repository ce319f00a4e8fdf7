"""Model FLOPs utilization (MFU) of a run, on chips whose peak is known."""

import jax
from jax.sharding import Mesh

from ssl_jax.training.planning.chips import CHIPS
from ssl_jax.training.planning.flops import product_flops, recomputed_flops


class Utilization:
    """Which share of the peak of its chips a run uses, without what it computes again to save memory.

    Attributes:
      peak: bfloat16 operations per second of all chips of the mesh together; None where it is not known.
    """

    def __init__(self, mesh: Mesh) -> None:
        chip = CHIPS.get(mesh.devices.flat[0].device_kind)
        self.peak = chip.flops * mesh.size if chip else None

    def operations(self, step: jax.stages.Traced) -> float:
        """Operations that a traced step needs, on all chips together; 0 where the peak is not known."""
        if self.peak is None:
            return 0.0
        jaxpr = step.jaxpr.jaxpr
        return float(product_flops(jaxpr) - recomputed_flops(jaxpr))

    def share(self, operations: float, seconds: float) -> float | None:
        """The MFU of so many operations in so many seconds; None where the peak is not known."""
        return None if self.peak is None else operations / seconds / self.peak
