"""Plans in words and as JSON."""

from collections.abc import Sequence
from typing import Any

from ssl_jax.training.planning.chips import GIB
from ssl_jax.training.planning.communication import Collective
from ssl_jax.training.planning.flops import KERNEL_SHARE, MATRIX_UNIT
from ssl_jax.training.planning.phases import Plan, StepTime
from ssl_jax.training.planning.programs import Memory


def describe(plan: Plan, price: float | None = None) -> str:
    """A plan in words.

    Args:
      plan: of a phase.
      price: of a chip for an hour; None leaves out what the phase costs.
    """
    unit, work = plan.phase.work
    machines = f"{plan.hosts} host{'s' if plan.hosts > 1 else ''}"
    lines = [
        f"{plan.phase.steps:,} steps of {plan.phase.batch_size} examples ({work:,} {unit}) on {plan.chips} x "
        f"{plan.kind} in {machines}, mesh {mesh_text(plan)}; compiled in {plan.seconds:.0f} s",
        *_smaller(plan),
        *_memory(plan),
        f"  operations per chip and step: {_operations(plan.flops)}, and {_operations(plan.recomputed)} computed again",
        *_time(plan, price),
        *(_communication(plan.collectives) if plan.memory["step"].fits else []),
    ]
    if plan.whole:
        lines.append(f"  not cut, since the mesh does not divide them: {', '.join(plan.whole)}")
    return "\n".join(lines)


def mesh_text(plan: Plan) -> str:
    """Such as "data 4 x fsdp 4"; axes of one device are left out."""
    return " x ".join(f"{name} {size}" for name, size in plan.mesh.items() if size > 1) or "of one device"


def as_json(plan: Plan, price: float | None = None) -> dict[str, Any]:
    """All numbers of a plan; bytes and operations are per chip, times in seconds."""
    unit, work = plan.phase.work
    return {
        "steps": plan.phase.steps,
        "batch_size": plan.phase.batch_size,
        "unit": unit,
        "work_per_step": work,
        "work_of_smaller_batches": [shape.work for shape in plan.phase.smaller],
        "device_kind": plan.kind,
        "chips": plan.chips,
        "hosts": plan.hosts,
        "mesh": dict(plan.mesh),
        "fits": plan.fits,
        "memory": {name: _memory_json(memory) for name, memory in plan.memory.items()},
        "flops": plan.flops,
        "recomputed_flops": plan.recomputed,
        "not_cut": list(plan.whole),
        "step_seconds": plan.time and {"estimate": plan.time.estimate, **plan.time._asdict()},
        "mfu": plan.model_utilization,
        "hfu": plan.hardware_utilization,
        "work_per_second": plan.work_per_second,
        "rows_per_second_and_host": plan.rows_per_host,
        "hours": plan.hours,
        "chip_hours": plan.chip_hours,
        "price": None if price is None or plan.chip_hours is None else price * plan.chip_hours,
        "collectives": [each._asdict() for each in plan.collectives],
        "compile_seconds": plan.seconds,
    }


def _smaller(plan: Plan) -> list[str]:
    """A line where the phase has batches that are not planned."""
    unit, work = plan.phase.work
    if not plan.phase.smaller:
        return []
    others = ", ".join(f"{shape.work:,}" for shape in plan.phase.smaller)
    return [f"  as if all batches had {work:,} {unit}; those of {others} {unit} take less memory and time"]


def _memory(plan: Plan) -> list[str]:
    available = next(iter(plan.memory.values())).available
    limit = f", of the {available / GIB:.2f} GiB that a program may use" if available else ""
    lines = [f"  memory per chip{limit}:"]
    for name, memory in plan.memory.items():
        line = (
            f"    {name:<15}{memory.total / GIB:6.2f} GiB = state {memory.state / GIB:.2f} + batch "
            f"{memory.batch / GIB:.2f} + working {memory.working / GIB:.2f}"
        )
        if memory.fits:
            lines.append(line)
            continue
        lines.append(f"{line}: does NOT fit, {(memory.total - memory.available) / GIB:.2f} GiB too much")
        lines += [f"      {array}" for array in memory.largest]
    return lines


def _memory_json(memory: Memory) -> dict[str, Any]:
    return {
        **memory._asdict(),
        "total": memory.total,
        "fits": memory.fits,
        "largest": [array._asdict() for array in memory.largest],
    }


def _time(plan: Plan, price: float | None) -> list[str]:
    if plan.time is None:
        return []
    time = plan.time
    cost = "" if price is None else f", {price * plan.chip_hours:,.0f} at {price:g} a chip-hour"
    return [
        f"  a step, estimated: {milliseconds(time.estimate)}; MFU {plan.model_utilization:.0%}, HFU "
        f"{plan.hardware_utilization:.0%}",
        f"    instructions {milliseconds(time.instructions)}, communication {milliseconds(time.exposed)} waited for "
        f"and {milliseconds(time.hidden)} beside them",
        *_kernels(time),
        f"    for comparison: operations at the chip's peak {milliseconds(time.flops)}, traffic of HBM at its full "
        f"bandwidth {milliseconds(time.memory)}",
        f"    {plan.work_per_second:,.0f} {plan.phase.work[0]} per second; each host must read "
        f"{plan.rows_per_host:,.0f} examples per second",
        f"  the phase, estimated: {plan.hours:,.1f} hours, {plan.chip_hours:,.0f} chip-hours{cost}",
    ]


def _kernels(time: StepTime) -> list[str]:
    if not time.kernels:
        return []
    return [
        f"    kernels of attention {milliseconds(time.kernels)} ({time.kernels / time.estimate:.0%} of the step), "
        f"assumed to reach {KERNEL_SHARE:.0%} of the peak, less where heads are narrower than {MATRIX_UNIT}",
    ]


def _communication(found: Sequence[Collective]) -> list[str]:
    if not found:
        return ["  collectives: none"]
    rows = [("collective", "along", "times", "MiB", "time", "")]
    rows += [
        (
            each.kind,
            each.axes,
            str(each.count),
            f"{each.bytes / 2**20:,.1f}",
            "" if each.seconds is None else milliseconds(each.seconds),
            ("asynchronous" if each.asynchronous else "")
            + (" between slices" if each.between_slices else ""),
        )
        for each in found
    ]
    return ["  collectives per chip and step:", *table(rows)]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table with aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _operations(count: float) -> str:
    return f"{count / 1e12:.3g} TFLOP" if count >= 1e11 else f"{count / 1e9:.3g} GFLOP"


def milliseconds(seconds: float) -> str:
    """0.0123 -> "12.3 ms"."""
    return f"{1e3 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"
