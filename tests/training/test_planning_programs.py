"""What is read from the text of a compiled program: loops, cycles, traffic and communication."""

import re

import jax
import pytest

from ssl_jax.training.planning import collectives
from ssl_jax.training.planning.communication import first_group
from ssl_jax.training.planning.hlo import array_bytes, memory_traffic, parse_program
from ssl_jax.training.sharding import MeshConfig, make_mesh

# As libtpu writes programs, shortened: a loop of 3 iterations over a stack of 3 layers, of which each reads one.
LOOP = """HloModule jit_step, is_scheduled=true

%fused (param_0.1: f32[3,128,8], param_1.1: s32[]) -> f32[128,8] {
  %param_0.1 = f32[3,128,8]{2,1,0:T(8,128)} parameter(0)
  %param_1.1 = s32[]{:T(128)} parameter(1)
  ROOT %slice.1 = f32[1,128,8]{2,1,0:T(8,128)} dynamic-slice(%param_0.1, %param_1.1), dynamic_slice_sizes={1,128,8}
}

%scatters (input.1: f32[8,8]) -> f32[1,8] {
  %input.1 = f32[8,8]{1,0} parameter(0)
  ROOT %all-reduce.9 = f32[8,8]{1,0} all-reduce(%input.1), channel_id=9, replica_groups={{0,1},{2,3},{4,5},{6,7}}
}

%starts (input.2: f32[8,8]) -> (f32[8,8], u32[]) {
  %input.2 = f32[8,8]{1,0} parameter(0)
  %all-gather.7 = f32[16,8]{1,0} all-gather(%input.2), channel_id=7, replica_groups=[4,2]<=[8], dimensions={0}
  ROOT %start.7 = (f32[8,8]{1,0}, u32[]{:S(2)}) custom-call(%all-gather.7), custom_call_target="AsyncCollectiveStart"
}

%goes-on (input.3: f32[8,8]) -> f32[8,8] {
  %input.3 = f32[8,8]{1,0} parameter(0)
  ROOT %all-gather.8 = f32[16,8]{1,0} all-gather(%input.3), channel_id=7, replica_groups=[4,2]<=[8], dimensions={0}
}

%body (carry.1: (s32[], f32[3,128,8])) -> (s32[], f32[3,128,8]) {
  %carry.1 = (s32[]{:T(128)}, f32[3,128,8]{2,1,0:T(8,128)}) parameter(0)
  %count.1 = s32[]{:T(128)} get-tuple-element(%carry.1), index=0
  %stack.1 = f32[3,128,8]{2,1,0:T(8,128)} get-tuple-element(%carry.1), index=1
  %layer.1 = f32[128,8]{1,0:T(8,128)S(1)} fusion(%stack.1, %count.1), kind=kLoop, calls=%fused, \
backend_config={"window_config":{"estimated_cycles":"100"}}
  %sum.1 = (f32[128,8]{1,0}, /*index=1*/f32[]{:T(128)}) all-reduce(%layer.1, %layer.1), channel_id=1, \
replica_groups=mesh['axis_0'=4,'axis_1'=2], device_ids=([4,2]) {'axis_0'}, to_apply=%add
  %part.1 = f32[1,8]{1,0} fusion(%layer.1), kind=kCustom, calls=%all-reduce-scatter.1, \
backend_config={"window_config":{"estimated_cycles":"9223372036854775807"}}
  %begins.1 = f32[8,8]{1,0} fusion(%layer.1), kind=kCustom, calls=%starts
  %ends.1 = f32[8,8]{1,0} fusion(%begins.1), kind=kCustom, calls=%goes-on
  ROOT %next.1 = (s32[]{:T(128)}, f32[3,128,8]{2,1,0:T(8,128)}) tuple(%count.1, %stack.1)
}

%condition (carry.2: (s32[], f32[3,128,8])) -> pred[] {
  %bound.1 = s32[]{:T(128)} constant(3)
  %carry.2 = (s32[]{:T(128)}, f32[3,128,8]{2,1,0:T(8,128)}) parameter(0)
  %count.2 = s32[]{:T(128)} get-tuple-element(%carry.2), index=0
  ROOT %less.1 = pred[]{:T(512)} compare(%count.2, %bound.1), direction=LT
}

ENTRY %main (x: f32[3,128,8]) -> f32[3,128,8] {
  %x = f32[3,128,8]{2,1,0:T(8,128)} parameter(0)
  %zero = s32[]{:T(128)} constant(0)
  %copy-start = (f32[3,128,8]{2,1,0:T(8,128)S(1)}, f32[3,128,8]{2,1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%x)
  %copy-done = f32[3,128,8]{2,1,0:T(8,128)S(1)} copy-done(%copy-start)
  %start = (s32[]{:T(128)}, f32[3,128,8]{2,1,0:T(8,128)}) tuple(%zero, %x)
  %loop = (s32[]{:T(128)}, f32[3,128,8]{2,1,0:T(8,128)}) while(%start), condition=%condition, body=%body
  ROOT %result = f32[3,128,8]{2,1,0:T(8,128)} get-tuple-element(%loop), index=1
}
""".replace("%scatters (", "%all-reduce-scatter.1 (")
LAYER = 128 * 8 * 4


def test_the_body_of_a_loop_runs_once_per_iteration():
    program = parse_program(LOOP)
    scheduled = [instruction for _, instruction in program.scheduled()]
    times = {instruction.name: instruction.times for instruction in scheduled}
    assert (program.entry, times["layer.1"], times["loop"]) == ("main", 3, 1)
    assert "slice.1" not in times, "the inside of a fusion does not run by itself"
    # The largest int64 of `part.1` means that the compiler has no estimate.
    assert sum(instruction.times * instruction.cycles for instruction in scheduled) == 300


@pytest.mark.parametrize(
    ("bound", "times"),
    [
        ("s32[1]{0:T(128)} constant({3})", 3),
        ("s32[2]{0:T(128)} constant({3, 5})", 1),
        ("f32[]{:T(128)} constant(3)", 1),
    ],
    ids=["array of one", "array", "no integer"],
)
def test_the_bound_of_a_loop_is_a_single_integer(bound, times):
    program = parse_program(LOOP.replace("s32[]{:T(128)} constant(3)", bound))
    assert {i.times for _, i in program.scheduled() if i.name == "layer.1"} == {times}


def test_a_loop_may_count_by_two():
    """As the compiler writes a product that it computes in a ring: unsigned, two of six parts in each iteration."""
    text = LOOP.replace("s32[]{:T(128)} constant(3)", "u32[]{:T(128)} constant(6)").replace(
        "tuple(%count.1, %stack.1)",
        "tuple(%next-count.1, %stack.1)\n  %two.1 = u32[]{:T(128)} constant(2)\n"
        "  %next-count.1 = u32[]{:T(128)} add(%count.1, %two.1)",
    )
    assert {i.times for _, i in parse_program(text).scheduled() if i.name == "layer.1"} == {3}


def test_traffic_is_what_is_read_from_and_written_to_hbm():
    """The copy reads the stack (and makes a flag of 4 bytes), each iteration its layer; S(1) is not HBM."""
    text = "".join(
        line for line in LOOP.splitlines(True) if not line.startswith(("  %sum", "replica", "  %part"))
    )
    text = "".join(line for line in text.splitlines(True) if not line.startswith(("  %begins", "  %ends")))
    assert memory_traffic(parse_program(text)) == (3 * LAYER + 4) + 3 * (LAYER + 4)


def test_a_slice_counts_wherever_it_is_taken_or_replaced():
    """A layer is read in a fusion within a fusion, and one of another stack replaced beside a second result."""
    text = """HloModule jit_step, is_scheduled=true

%inner (param_0.1: f32[3,128,8], param_1.1: s32[]) -> f32[1,128,8] {
  %param_0.1 = f32[3,128,8]{2,1,0:T(8,128)} parameter(0)
  %param_1.1 = s32[]{:T(128)S(6)} parameter(1)
  ROOT %slice.1 = f32[1,128,8]{2,1,0:T(8,128)} dynamic-slice(%param_0.1, %param_1.1), dynamic_slice_sizes={1,128,8}
}

%outer (param_0.2: f32[3,128,8], param_1.2: s32[], param_2.2: f32[3,128,8]) -> (f32[3,128,8], f32[1,128,8]) {
  %param_0.2 = f32[3,128,8]{2,1,0:T(8,128)} parameter(0)
  %param_1.2 = s32[]{:T(128)S(6)} parameter(1)
  %param_2.2 = f32[3,128,8]{2,1,0:T(8,128)} parameter(2)
  %flat.2 = f32[3,128,8]{2,1,0:T(8,128)} bitcast(%param_0.2)
  %layer.2 = f32[1,128,8]{2,1,0:T(8,128)} fusion(%flat.2, %param_1.2), kind=kLoop, calls=%inner
  %update.2 = f32[3,128,8]{2,1,0:T(8,128)} dynamic-update-slice(%param_2.2, %layer.2, %param_1.2)
  %minus.2 = f32[1,128,8]{2,1,0:T(8,128)S(1)} negate(%layer.2)
  ROOT %both.2 = (f32[3,128,8]{2,1,0:T(8,128)}, f32[1,128,8]{2,1,0:T(8,128)S(1)}) tuple(%update.2, %minus.2)
}

ENTRY %main (x: f32[3,128,8], i: s32[], y: f32[3,128,8]) -> (f32[3,128,8], f32[1,128,8]) {
  %x = f32[3,128,8]{2,1,0:T(8,128)} parameter(0)
  %i = s32[]{:T(128)S(6)} parameter(1)
  %y = f32[3,128,8]{2,1,0:T(8,128)} parameter(2)
  ROOT %done = (f32[3,128,8]{2,1,0:T(8,128)}, f32[1,128,8]{2,1,0:T(8,128)S(1)}) fusion(%x, %i, %y), calls=%outer
}
"""
    assert memory_traffic(parse_program(text)) == 2 * LAYER, "one layer read, one written to HBM"


def test_collectives_are_named_by_the_axes_of_the_mesh():
    found = collectives(parse_program(LOOP), make_mesh(MeshConfig(fsdp=2), jax.devices()))
    assert {(each.kind, each.axes, each.asynchronous): (each.count, each.bytes) for each in found} == {
        ("all-reduce", "data", False): (3, 3 * (LAYER + 4)),
        ("reduce-scatter", "fsdp", False): (3, 3 * 8 * 8 * 4),
        ("all-gather", "fsdp", True): (3, 3 * 16 * 8 * 4),
    }
    assert {each.seconds for each in found} == {None}, "nothing is known of links between CPUs"


def test_the_copies_of_an_unrolled_loop_communicate_each():
    """All have the channel of the loop's body."""
    [line] = re.findall(r"  %sum\.1 = .*\n", LOOP)
    text = LOOP.replace(line, line + line.replace("%sum.1", "%sum.2"))
    found = collectives(parse_program(text), make_mesh(MeshConfig(fsdp=2), jax.devices()))
    assert [each.count for each in found if each.kind == "all-reduce"] == [6]


@pytest.mark.parametrize(
    ("attributes", "members"),
    [
        ("replica_groups={{0,2},{1,3}}, x", [0, 2]),
        ("replica_groups=[2,2]<=[4]", [0, 1]),
        ("replica_groups=[2,2]<=[2,2]T(1,0), x", [0, 2]),
        ("replica_groups=mesh['axis_0'=2,'axis_1'=2] {'axis_1'}, x", [0, 1]),
        ("replica_groups=mesh['axis_0'=2,'axis_1'=2] {'axis_0','axis_1'}", [0, 1, 2, 3]),
        ("replica_groups=mesh['axis_0'=2,'axis_1'=2], device_ids=([2,2]T(1,0)) {'axis_1'}", [0, 2]),
        ("source_target_pairs={{0,2},{2,0},{1,3},{3,1}}", [0, 2]),
        ("replica_groups={}", [0, 1, 2, 3]),
    ],
)
def test_groups_of_chips_are_read(attributes, members):
    assert first_group(attributes, 4) == members


def test_sizes_of_arrays():
    assert array_bytes("(f32[8,128]{1,0:T(8,128)}, /*index=1*/pred[4]{0}, bf16[], u4[6])") == 4096 + 4 + 2 + 3
    assert array_bytes("(f32[8]{0:T(128)S(1)}, s8[5]{0})", memory=True) == 5
