"""Plans of runs: memory, time and communication of their programs, compiled for TPUs that need not be there."""

from ssl_jax.training.planning.chips import CHIPS, GIB, Chip, topology_devices
from ssl_jax.training.planning.communication import Collective, collectives
from ssl_jax.training.planning.flops import kernel_seconds, product_flops, recomputed_flops
from ssl_jax.training.planning.phases import Plan, StepTime, plan_phase
from ssl_jax.training.planning.programs import Memory

__all__ = [
    "CHIPS",
    "GIB",
    "Chip",
    "Collective",
    "Memory",
    "Plan",
    "StepTime",
    "collectives",
    "kernel_seconds",
    "plan_phase",
    "product_flops",
    "recomputed_flops",
    "topology_devices",
]
