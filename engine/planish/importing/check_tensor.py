"""Does a `TensorProto` hold as many elements as its dimensions say?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx

from planish.errors import ModelError

T = onnx.TensorProto

#: Bits of an element in `raw_data`, for every type that has a raw form.
BITS: dict[int, int] = {
    getattr(T, name): bits
    for bits, names in {
        2: ("INT2", "UINT2"),
        4: ("INT4", "UINT4", "FLOAT4E2M1"),
        8: ("INT8", "UINT8", "BOOL", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0"),
        16: ("INT16", "UINT16", "FLOAT16", "BFLOAT16"),
        32: ("INT32", "UINT32", "FLOAT"),
        64: ("INT64", "UINT64", "DOUBLE", "COMPLEX64"),
        128: ("COMPLEX128",),
    }.items()
    for name in names
    if hasattr(T, name)
}

#: Field of the typed form and how many of its entries an element takes.
_FIELDS: dict[int, tuple[str, float]] = {
    T.FLOAT: ("float_data", 1),
    T.COMPLEX64: ("float_data", 2),
    T.DOUBLE: ("double_data", 1),
    T.COMPLEX128: ("double_data", 2),
    T.INT64: ("int64_data", 1),
    T.UINT64: ("uint64_data", 1),
    T.UINT32: ("uint64_data", 1),
    T.STRING: ("string_data", 1),
}


def check_tensor(tensor: onnx.TensorProto, where: str) -> None:
    """Raise ModelError unless type, dimensions and the number of typed entries of `tensor` agree.

    The length of raw and external data is checked where they are read (`check_size`): merely asking protobuf for the
    length of `raw_data` copies it.
    """
    where = f"{where}: tensor '{tensor.name}'"
    if tensor.data_type not in BITS and tensor.data_type != T.STRING:
        raise ModelError(f"{where}: element type {tensor.data_type} is unknown; export the model again")
    if any(d < 0 for d in tensor.dims):
        raise ModelError(f"{where}: has the negative dimension {min(tensor.dims)}; export the model again")
    if tensor.HasField("segment"):
        raise ModelError(f"{where}: is split into segments, which ONNX withdrew; export the model again")
    if tensor.data_location == T.EXTERNAL:
        _check_location(tensor, where)
        return
    if tensor.HasField("raw_data") and tensor.data_type != T.STRING:
        return
    expected, found = _typed_counts(tensor)
    if expected != found:
        raise ModelError(
            f"{where}: has {found} entries, but {T.DataType.Name(tensor.data_type)}{list(tensor.dims)} needs "
            f"{expected}; export the model again"
        )


def _check_location(tensor: onnx.TensorProto, where: str) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    for key in ("offset", "length"):
        if not entries.get(key, "0").isdecimal():
            raise ModelError(f"{where}: external data {key} is {entries[key]!r}, not a size; export the model again")


def check_size(data_type: int, dims: Sequence[int], found: int, where: str) -> None:
    """Raise ModelError unless `found` bytes are what a tensor of this type and shape takes."""
    expected = byte_size(data_type, math.prod(dims))
    if expected != found:
        raise ModelError(
            f"{where}: has {found} bytes, but {T.DataType.Name(data_type)}{list(dims)} needs {expected}; "
            "export the model again"
        )


def byte_size(data_type: int, elements: int) -> int:
    """Bytes of `elements` elements, packed as `raw_data` and external files pack them."""
    return (elements * BITS[data_type] + 7) // 8


def _typed_counts(tensor: onnx.TensorProto) -> tuple[int, int]:
    """(expected, found) entries of the typed field."""
    elements = math.prod(tensor.dims)
    field, per_element = _FIELDS.get(tensor.data_type, ("int32_data", 1))
    bits = BITS.get(tensor.data_type, 8)
    expected = byte_size(tensor.data_type, elements) if bits < 8 else int(elements * per_element)
    return expected, len(getattr(tensor, field))
