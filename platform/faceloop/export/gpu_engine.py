"""Run a serialised TensorRT or TensorRT-RTX engine on this machine's GPU, through the CUDA driver alone.

Needs no toolkit and no Python binding of CUDA: seven calls of the driver, so that a target machine with a driver and
the engine's runtime can verify.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Literal

import numpy as np

from faceloop.export.preflight import TargetMissing, find_gpu, find_library
from faceloop.vision.arrays import Float32Array
from facestore.errors import ModelCorrupt

_DRIVER = "libcuda.so.1"


def run_on_gpu(
    target: Literal["tensorrt", "tensorrt-rtx"], plan: bytes, inputs: Float32Array
) -> tuple[Float32Array, str]:
    """Vectors (n, d) of inputs (n, 3, 112, 112), and the device ("sm86"), one input at a time.

    Raises TargetMissing where library, driver or GPU is not here, ModelCorrupt for an engine that the runtime refuses
    (another version, another GPU) or that fails.
    """
    library, no_library = find_library(target)
    gpu, no_gpu = find_gpu()
    missing = [problem for problem in (no_library, no_gpu) if problem]
    if library is None or gpu is None:
        raise TargetMissing(target, missing)
    with _context() as cuda:
        vectors = [_infer(library, cuda, plan, inputs[i : i + 1]) for i in range(len(inputs))]
    return np.concatenate(vectors), gpu.name


def _infer(library: ModuleType, cuda: ctypes.CDLL, plan: bytes, batch: Float32Array) -> Float32Array:
    trt: Any = library
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(plan)
    if engine is None:
        raise ModelCorrupt(f"{trt.__name__} {trt.__version__} refuses the engine; build it for this GPU and version")
    context = engine.create_execution_context()
    source, target = (engine.get_tensor_name(i) for i in range(2))
    context.set_input_shape(source, batch.shape)
    found = np.empty(tuple(context.get_tensor_shape(target)), dtype=np.float32)
    with _memory(cuda, batch.nbytes) as given, _memory(cuda, found.nbytes) as taken:
        _done(cuda.cuMemcpyHtoD_v2(given, batch.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(batch.nbytes)))
        context.set_tensor_address(source, given.value)
        context.set_tensor_address(target, taken.value)
        if not context.execute_async_v3(0):
            raise ModelCorrupt(f"{trt.__name__} {trt.__version__} failed to run the engine; build it anew")
        _done(cuda.cuCtxSynchronize())
        _done(cuda.cuMemcpyDtoH_v2(found.ctypes.data_as(ctypes.c_void_p), taken, ctypes.c_size_t(found.nbytes)))
    return found


@contextmanager
def _context() -> Iterator[ctypes.CDLL]:
    """The first device's primary context, current while the block runs."""
    cuda = ctypes.CDLL(_DRIVER)
    device, context = ctypes.c_int(), ctypes.c_void_p()
    _done(cuda.cuInit(0))
    _done(cuda.cuDeviceGet(ctypes.byref(device), 0))
    _done(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))
    try:
        _done(cuda.cuCtxSetCurrent(context))
        yield cuda
    finally:
        cuda.cuDevicePrimaryCtxRelease_v2(device)


@contextmanager
def _memory(cuda: ctypes.CDLL, size_bytes: int) -> Iterator[ctypes.c_uint64]:
    address = ctypes.c_uint64()
    _done(cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size_bytes)))
    try:
        yield address
    finally:
        cuda.cuMemFree_v2(address)


def _done(error: int) -> None:
    if error:
        raise ModelCorrupt(f"CUDA error {error} on the way to the GPU; look at the driver, then verify again")
