"""How objects of other libraries are pickled where their own way would write more, or what only they can read.

- Arrow writes all of the buffers that a slice looks into: ten rows of a table would write the table. What uses less
  than half of its buffers is copied into buffers of its own first, through Arrow's own IPC format.
- PyTorch wraps a tensor's whole storage into one bytes object, in its own format. Dense tensors of the
  CPU go as the NumPy arrays that they are, so that they are aligned, and shared with the file when mapped.

- NumPy's generators of random numbers name functions of modules that start with an underscore; here they are
  made by their own classes, and given their state.

None of these libraries is imported from here: a class that is asked about exists.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

Reduced = tuple[Any, ...] | str
Reducer = Callable[[Any], Reduced]

_NUMBERS: Final = {
    *("float16", "float32", "float64", "complex64", "complex128", "bool"),
    *("int8", "int16", "int32", "int64", "uint8"),
}
_SMALL: Final = 64 * 1024  # bytes of buffers that are not worth a look


def reducer(cls: type) -> Reducer | None:
    """The reducer for a class of these libraries; None for all others."""
    library = cls.__module__.partition(".")[0]
    if library == "pyarrow":
        return _arrow if callable(getattr(cls, "get_total_buffer_size", None)) else None
    if library == "numpy" and "numpy.random" in sys.modules:
        return _random_reducer(cls)
    if library == "torch":
        torch = sys.modules["torch"]
        if cls is torch.Tensor:
            return _tensor
        if cls is torch.nn.Parameter:
            return _parameter
    if library == "builtins" and cls is type(getattr(sys.modules.get("torch"), "from_numpy", None)):
        return _function
    return None


# --- Arrow ----------------------------------------------------------------------------------------


def _arrow(value: Any) -> Reduced:
    held = value.get_total_buffer_size()
    compact = _compact(value) if held > _SMALL and held > 2 * value.nbytes else value
    reduced: Reduced = compact.__reduce_ex__(5)
    return reduced


def _compact(value: Any) -> Any:
    pa: Any = sys.modules["pyarrow"]

    if isinstance(value, pa.Table):
        return _rewritten(value)
    if isinstance(value, pa.RecordBatch):
        batches = _rewritten(pa.Table.from_batches([value])).to_batches()
        return batches[0] if batches else value.slice(0, 0)
    column = _rewritten(pa.table({"": value})).column(0)
    if isinstance(value, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else value


def _rewritten(table: Any) -> Any:
    pa: Any = sys.modules["pyarrow"]

    sink = pa.BufferOutputStream()
    try:
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        with pa.ipc.open_stream(sink.getvalue()) as stream:
            return stream.read_all()
    except pa.ArrowException:  # types that IPC cannot hold: as Arrow itself would do
        return table


# --- random numbers -------------------------------------------------------------------------------


def _random_reducer(cls: type) -> Reducer | None:
    random = sys.modules["numpy.random"]
    own = {"RandomState": _random_state, "Generator": _generator, "SeedSequence": _seed_sequence}
    for name in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"):
        own[name] = _bit_generator
    return own.get(cls.__name__) if cls is getattr(random, cls.__name__, None) else None


def _random_state(state: Any) -> Reduced:
    # Its bit generator is shared with whoever else holds it.
    return type(state), (state._bit_generator,), state.__getstate__()


def _generator(generator: Any) -> Reduced:
    return type(generator), (generator.bit_generator,)


def _bit_generator(generator: Any) -> Reduced:
    return type(generator), (0,), generator.__getstate__()  # made with any seed: the state replaces it


def _seed_sequence(seeds: Any) -> Reduced:
    cls: Callable[..., Any] = type(seeds)
    make = partial(
        cls,
        spawn_key=seeds.spawn_key,
        pool_size=seeds.pool_size,
        n_children_spawned=seeds.n_children_spawned,
    )
    return make, (seeds.entropy,)


# --- PyTorch --------------------------------------------------------------------------------------


def _tensor(tensor: Any) -> Reduced:
    if tensor.requires_grad or not _as_array(tensor):
        reduced: Reduced = tensor.__reduce_ex__(5)
        return reduced
    return sys.modules["torch"].from_numpy, (tensor.numpy(),)


def _function(function: Any) -> Reduced:
    """By its public name, where by itself it would go as a member of a private class of `torch._C`."""
    if function is sys.modules["torch"].from_numpy:
        return "from_numpy"
    reduced: Reduced = function.__reduce_ex__(5)
    return reduced


def _parameter(parameter: Any) -> Reduced:
    if not _as_array(parameter):
        reduced: Reduced = parameter.__reduce_ex__(5)
        return reduced
    return type(parameter), (parameter.detach(), parameter.requires_grad)


def _as_array(tensor: Any) -> bool:
    """Whether a tensor is nothing but numbers in ordinary memory that NumPy has a type for."""
    torch = sys.modules["torch"]
    plain = tensor.device.type == "cpu" and tensor.layout is torch.strided and not tensor.is_quantized
    if (
        not plain
        or tensor.is_conj()
        or tensor.is_neg()
        or vars(tensor)
        or getattr(tensor, "_backward_hooks", None)
    ):
        return False
    return str(tensor.dtype).removeprefix("torch.") in _NUMBERS
