"""Files that joblib wrote, from 0.10 on: a pickle with a wrapper in place of each array, and the bytes behind it.

What a file looks like (observed; joblib itself is not needed to read it)::

    opcodes ... NumpyArrayWrapper BUILD | padding length, padding | bytes of the array | opcodes ...

The padding, up to a multiple of ``numpy_array_alignment_bytes``, is there since 1.2. In place of the bytes of an array
of objects stands a pickle of it. Since the opcodes have to stop exactly where the bytes begin, these files are
read by Python's own unpickler, which never reads ahead of a frame; the C one does.
"""

from __future__ import annotations

import mmap
import pickle
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final

from lightwork.persist.sealed import private

if TYPE_CHECKING:
    from lightwork.persist.reader import MmapMode

_NAME: Final = b"NumpyArrayWrapper"
_MODULE: Final = "joblib.numpy_pickle"
_BLOCK: Final = 1 << 20


def mentions_wrapper(file: Any) -> bool:
    """Whether a file has wrappers in it; it is left where it was."""
    here = file.tell()
    last = b""
    while block := file.read(_BLOCK):
        if _NAME in last + block:
            break
        last = block[-len(_NAME) :]
    file.seek(here)
    return bool(block)


class Unpickler(pickle._Unpickler):
    """Reads a file of joblib's; with a path and a mode, arrays are mapped from that file."""

    dispatch: ClassVar[dict[int, Any]] = pickle._Unpickler.dispatch.copy()

    def __init__(
        self, file: IO[bytes], *, native: bool, path: str = "", mode: MmapMode | None = None
    ) -> None:
        super().__init__(file)
        self.file = file
        self.native = native
        self.path = path
        self.mode = mode

    def find_class(self, module: str, name: str) -> Any:
        """Put our wrapper in the place of joblib's."""
        if module == _MODULE and name == _NAME.decode():
            return _Wrapper
        return super().find_class(module, name)

    def load_build(self) -> None:
        """After a wrapper got its state, put the array in its place."""
        super().load_build()  # type: ignore[misc]
        stack = self.stack  # type: ignore[attr-defined]
        if isinstance(stack[-1], _Wrapper):
            stack[-1] = stack[-1].array(self)

    dispatch[pickle.BUILD[0]] = load_build


class _Wrapper:
    subclass: Any
    shape: tuple[int, ...]
    order: str
    dtype: Any
    allow_mmap: bool
    numpy_array_alignment_bytes: int | None = None

    def array(self, reader: Unpickler) -> Any:
        """The array whose bytes come next in the file."""
        import numpy as np

        if self.dtype.hasobject:
            return pickle.load(reader.file)
        if self.numpy_array_alignment_bytes:
            padding = reader.file.read(1)
            reader.file.seek(padding[0] if padding else 0, 1)
        nbytes = self.dtype.itemsize
        for length in self.shape:
            nbytes *= length
        if reader.mode is not None and self.allow_mmap and nbytes:
            return self._mapped(reader, nbytes)
        buffer = _filled(reader.file, nbytes)
        array: Any = np.ndarray(self.shape, self.dtype, buffer, order=self._order)
        if reader.native and not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        return array if self.subclass in (np.ndarray, np.memmap) else array.view(self.subclass)

    def _mapped(self, reader: Unpickler, nbytes: int) -> Any:
        import numpy as np

        offset = reader.file.tell()
        mode: Any = "r+" if reader.mode == "w+" else reader.mode
        array = np.memmap(reader.path, self.dtype, mode, offset, self.shape, self._order)
        reader.file.seek(offset + nbytes)
        return array

    @property
    def _order(self) -> Any:
        return "F" if self.order == "F" else "C"


def _filled(file: IO[bytes], nbytes: int) -> bytearray | mmap.mmap:
    """The next bytes of a file; raises EOFError where there are fewer."""
    here = file.tell()
    if file.seek(0, 2) - here < nbytes:  # before memory is asked for
        raise EOFError("the file ends within an array")
    file.seek(here)
    room = private(nbytes)
    done = 0
    with memoryview(room) as view:
        while done < nbytes:
            got = file.readinto(view[done:])  # type: ignore[attr-defined]
            if not got:
                raise EOFError("the file ends within an array")
            done += got
    return room
