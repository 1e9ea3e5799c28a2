"""Passes: from a loaded ONNX model to the canonical one, and what the lowering shares with them.

`canonicalise` runs the list `PASSES`; every pass is a function `verb_noun(model) -> changed` in a file of its name.
`patterns` reads graphs, `rewrite` changes them, `compressed_weights` recognises the forms of compressed weights.
"""

from planish.passes.compressed_weights import compressed_weight_nodes, is_compressed_weight
from planish.passes.pipeline import PASSES, canonicalise

__all__ = ["PASSES", "canonicalise", "compressed_weight_nodes", "is_compressed_weight"]
