"""Reading ONNX models: from a file, bytes or objects to an `onnx_ir.Model` whose every tensor has been checked.

`load_model` is the only entry. What it returns has unique names, nodes in topological order, and tensors whose bytes
agree with their declared type and shape; anything else is a `ModelError` that names the node or tensor.
"""

from planish.importing.load import load_model

__all__ = ["load_model"]
