"""Communication between the chips in a compiled program: of what kind, along which axes of the mesh, and how much."""

import collections
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from ssl_jax.training.planning.chips import CHIPS
from ssl_jax.training.planning.hlo import Instruction, Program, array_bytes

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


class Collective(NamedTuple):
    """All communication of one kind along the same axes.

    Attributes:
      kind: one of `KINDS`.
      axes: of the mesh, along which chips exchange data, such as "data" or "data x fsdp".
      asynchronous: whether the chips compute meanwhile.
      between_slices: whether it crosses the network between slices (DCN).
      count: how often it runs in a step.
      bytes: per chip and step: of what an all-gather results in, of what the others begin with.
      seconds: per step, estimated from the bandwidth of the links; None if it is not known.
    """

    kind: str
    axes: str
    asynchronous: bool
    between_slices: bool
    count: int
    bytes: int
    seconds: float | None


def collectives(program: Program, mesh: Mesh) -> list[Collective]:
    """The communication of one step, the largest first.

    Args:
      program: the compiled one.
      mesh: of the devices that it was compiled for.
    """
    found: dict[tuple, list[tuple[int, int, float | None]]] = collections.defaultdict(list)
    slices = len({getattr(device, "slice_index", None) for device in mesh.devices.flat})
    for instruction, kind, asynchronous in _communicating(program):
        if instruction.opcode == "recv":
            size, times = array_bytes(instruction.result), instruction.times
            seconds = _network_seconds(size, slices, mesh.devices.flat[0])
            found[kind, "data", asynchronous, True].append((times, times * size, seconds and times * seconds))
            continue
        members = first_group(instruction.rest, mesh.size)
        if len(members) < 2:
            continue
        devices = [mesh.devices.flat[i] for i in members]
        size = _size(instruction, len(members))
        key = kind, _axes(members, mesh), asynchronous, False
        seconds = _seconds(kind, size, devices)
        times = instruction.times
        found[key].append((times, times * size, None if seconds is None else times * seconds))
    merged = [
        Collective(
            *key,
            count=sum(count for count, _, _ in parts),
            bytes=sum(size for _, size, _ in parts),
            seconds=None if parts[0][2] is None else sum(seconds for _, _, seconds in parts),
        )
        for key, parts in found.items()
    ]
    return sorted(merged, key=lambda c: -c.bytes)


def _communicating(program: Program) -> list[tuple[Instruction, str, bool]]:
    """(instruction, kind, whether it is asynchronous) of all communication, with the times it runs in a step.

    A fusion may hold communication: an all-reduce of which each chip keeps a part, which is a reduce-scatter, or one
    that goes on while the chips compute. The latter is in several fusions, of which one starts it. Their `channel_id`
    does not tell one from another: that of a loop's body is in all its copies if the loop is unrolled.
    """
    found = []
    for _, instruction in program.scheduled():
        inside = program.fused(instruction).values() if instruction.opcode == "fusion" else ()
        scatters = "calls=%all-reduce-scatter" in instruction.rest
        starts = any('custom_call_target="AsyncCollectiveStart"' in each.rest for each in inside)
        for each in (instruction, *(inside if scatters or starts else ())):
            kind = each.opcode.removesuffix("-start")
            between_slices = re.search(r'_xla_megascale_transfer_type="(\w+)"', each.rest)
            if between_slices and each.opcode == "recv":
                kind = between_slices[1].lower().replace("_", "-")
            elif kind not in KINDS:
                continue
            asynchronous = each.opcode != kind or starts
            kind = "reduce-scatter" if scatters else kind
            found.append((each._replace(times=instruction.times), kind, asynchronous))
    return found


def first_group(attributes: str, devices: int) -> list[int]:
    """Positions in the mesh of the chips that exchange data with the first one; all groups are alike.

    Args:
      attributes: of the instruction. Groups are written as {{0,1},{2,3}}, as [2,2]<=[4] or [2,2]<=[2,2]T(1,0), or as
        mesh['a'=2,'b'=2] {'a'}.
      devices: how many there are.
    """
    if pairs := re.search(r"source_target_pairs=\{\{(.*?)\}\}", attributes):
        edges = dict(tuple(map(int, pair.split(","))) for pair in pairs[1].split("},{"))
        ring = [next(iter(edges))]
        while (following := edges.get(ring[-1])) is not None and following not in ring:
            ring.append(following)
        return ring
    if named := re.search(
        r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\((\[[\d,]+\](?:T\([\d,]+\))?)\))? \{([^}]*)\}",
        attributes,
    ):
        sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", named[1])}
        ids = _iota(named[2] or f"[{math.prod(sizes.values())}]").reshape(tuple(sizes.values()))
        chosen = re.findall(r"'([^']+)'", named[3])
        return ids[tuple(slice(None) if name in chosen else 0 for name in sizes)].ravel().tolist()
    if iota := re.search(r"replica_groups=\[(\d+),(\d+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", attributes):
        return _iota(iota[3]).reshape(int(iota[1]), int(iota[2]))[0].tolist()
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", attributes):
        return [int(n) for n in listed[1].split(",") if n]
    return list(range(devices))


def _iota(text: str) -> np.ndarray:
    """The numbers from 0 on in the shape and order of a text such as [4,2] or [4,2]T(1,0)."""
    sizes, *order = re.findall(r"[\d,]+", text)
    ids = np.arange(math.prod(map(int, sizes.split(",")))).reshape([int(n) for n in sizes.split(",")])
    return ids.transpose([int(n) for n in order[0].split(",")]) if order else ids


def _axes(members: Sequence[int], mesh: Mesh) -> str:
    """The axes of the mesh along which the places of the chips differ."""
    places = np.array(np.unravel_index(members, mesh.devices.shape))
    differs = [len(set(along)) > 1 for along in places.tolist()]
    return " x ".join(name for name, differ in zip(mesh.axis_names, differs, strict=True) if differ)


def _size(instruction: Instruction, members: int) -> int:
    """Bytes of the larger side: what an all-gather results in, what the others begin with."""
    size = array_bytes(instruction.result)
    if instruction.opcode == "reduce-scatter":
        return size * members
    if instruction.opcode == "all-gather-start":  # its result holds both sides
        return size * members // (members + 1)
    if instruction.opcode == "collective-permute-start":
        return size // 2
    return size


def _seconds(kind: str, size: int, devices: Sequence[jax.Device]) -> float | None:
    """How long the links take, as if each carried its share at full speed and nothing else ran.

    Rings run over every direction of the slice in which the chips of the group differ: a chip sends and receives on two
    links of each, on one where the ends of the row are not linked. An all-gather of n chips moves (n - 1) / n of its
    result through each chip, a reduce-scatter of what it begins with, an all-reduce both; an all-to-all moves a quarter
    of it.
    """
    chip, count = CHIPS.get(devices[0].device_kind), len(devices)
    if chip is None:
        return None
    share = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "all-to-all": 0.25}.get(kind)
    coordinates = np.array([device.coords for device in devices])
    rows = [len(set(along)) for along in coordinates.T.tolist()]
    links = sum((2 if n >= chip.wraps else 1) for n in rows if n > 1)
    # A collective-permute takes one link; the others take all links along their directions.
    through, links = (size, 1) if share is None else (share * size * (count - 1) / count, max(links, 1))
    return through / links / chip.link


def _network_seconds(size: int, slices: int, device: jax.Device) -> float | None:
    """How long the network between slices takes for the sum of what each of them has."""
    chip = CHIPS.get(device.device_kind)
    return 2 * size * (slices - 1) / slices / chip.network if chip else None
