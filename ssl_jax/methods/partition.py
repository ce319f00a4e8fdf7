"""How the parameters of transformers are sharded over a mesh: (path, mesh axis of each of the last dimensions).

Within a layer, `tensor` cuts heads and hidden units (Megatron-LM, arXiv:1909.08053): the first matrix of a block by its
outputs, the second by its inputs, so that a block needs one sum over the chips. `fsdp` cuts the other dimension
(ZeRO, arXiv:1910.02054).
"""

TRANSFORMER = (
    (r"attention/(qkv|key_value)/kernel$", ("fsdp", None, "tensor", None)),
    (r"attention/(qkv|key_value)/bias$", (None, "tensor", None)),
    (r"attention/query/kernel$", ("fsdp", "tensor", None)),
    (r"attention/query/bias$", ("tensor", None)),
    (r"attention/out/kernel$", ("tensor", None, "fsdp")),
    (r"mlp/(up|gate)/kernel$", ("fsdp", "tensor")),
    (r"mlp/(up|gate)/bias$", ("tensor",)),
    (r"mlp/down/kernel$", ("tensor", "fsdp")),
    (r"token/embedding$", ("tensor", "fsdp")),
)
