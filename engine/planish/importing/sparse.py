"""Sparse tensors of a `ModelProto`, written out densely.

`onnx_ir` has no sparse tensors: it would drop `sparse_initializer` without a word. So they become dense before it reads
the model; that zeros are worth a sparse kernel is found later, from the weights themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
import onnx.numpy_helper

from planish.errors import ModelError
from planish.importing.check_tensor import check_size, check_tensor

#: A sparse tensor may be tiny in the file and huge when dense; this bounds what a hostile model can ask for.
_MAX_DENSE_BYTES = 2**31


def densify_sparse_tensors(proto: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """`proto` itself where it holds no sparse tensor, else a copy in which every one is a dense tensor of equal value.

    Raises ModelError for indices out of range or unsorted, or a dense form above 2 GiB.
    """
    if not any(g.sparse_initializer or _sparse_constants(g) for g in _all_graphs(proto.graph)):
        return proto
    dense = onnx.ModelProto()
    dense.CopyFrom(proto)
    for graph in _all_graphs(dense.graph):
        for sparse in graph.sparse_initializer:
            graph.initializer.append(_densify(sparse, where))
        del graph.sparse_initializer[:]
        for node in _sparse_constants(graph):
            tensor = _densify(node.attribute[0].sparse_tensor, where)
            del node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute("value", tensor))
    return dense


def _all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _all_graphs(attribute.g)
            elif attribute.type == onnx.AttributeProto.GRAPHS:
                for inner in attribute.graphs:
                    yield from _all_graphs(inner)


def _sparse_constants(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    return [n for n in graph.node if n.op_type == "Constant" and any(a.name == "sparse_value" for a in n.attribute)]


def _densify(sparse: onnx.SparseTensorProto, where: str) -> onnx.TensorProto:
    name = sparse.values.name
    where = f"{where}: sparse tensor '{name}'"
    for part in (sparse.values, sparse.indices):
        check_tensor(part, where)
        if part.data_location == onnx.TensorProto.EXTERNAL:
            raise ModelError(f"{where}: has external data; store its values in the model")
        if part.HasField("raw_data"):
            check_size(part.data_type, part.dims, len(part.raw_data), where)
    values = onnx.numpy_helper.to_array(sparse.values)
    size = math.prod(sparse.dims)
    if min(sparse.dims, default=0) < 0 or size * values.itemsize > _MAX_DENSE_BYTES:
        raise ModelError(f"{where}: dimensions {list(sparse.dims)} are negative or exceed 2 GiB; store it densely")
    linear = _linear_indices(onnx.numpy_helper.to_array(sparse.indices), list(sparse.dims), where)
    if values.ndim != 1 or linear.shape != values.shape:
        raise ModelError(f"{where}: has {values.size} values for {linear.size} indices; export the model again")
    if linear.size and (linear.min() < 0 or linear.max() >= size or (np.diff(linear) <= 0).any()):
        raise ModelError(f"{where}: indices are out of range, unsorted or repeated; export the model again")
    dense = np.zeros(size, values.dtype)
    dense[linear] = values
    return onnx.numpy_helper.from_array(dense.reshape(sparse.dims), name)


def _linear_indices(indices: npt.NDArray[np.generic], dims: list[int], where: str) -> npt.NDArray[np.int64]:
    """Indices into the flattened tensor, from the [nnz] or the [nnz, rank] form."""
    if indices.dtype != np.int64 or indices.ndim not in (1, 2) or (indices.ndim == 2 and indices.shape[1] != len(dims)):
        raise ModelError(f"{where}: indices must be int64 of shape [nnz] or [nnz, rank]; export the model again")
    if indices.ndim == 1:
        return indices.astype(np.int64)
    coordinates = indices.astype(np.int64)
    if coordinates.size and ((coordinates < 0).any() or (coordinates >= np.array(dims, np.int64)).any()):
        raise ModelError(f"{where}: indices are out of range; export the model again")
    strides = np.array([math.prod(dims[i + 1 :]) for i in range(len(dims))], np.int64)
    return np.asarray(coordinates @ strides, np.int64)
