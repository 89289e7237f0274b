"""What a target needs of this machine, asked before any work: an export that cannot end should not begin."""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from facestore.errors import StageError

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_DRIVER = "libcuda.so.1"
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute


class TargetMissing(StageError):
    """This machine lacks what a target needs; `missing` names each thing."""

    def __init__(self, target: str, missing: Sequence[str]) -> None:
        super().__init__(
            f"target {target!r} cannot be built here: {'; '.join(missing)}. Run export on a machine that has it, or "
            f"take {target!r} out of export.targets"
        )
        self.target = target
        self.missing = tuple(missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """First GPU that the driver shows; `capability` as (9, 0)."""

    capability: tuple[int, int]

    @property
    def name(self) -> str:
        return f"sm{self.capability[0]}{self.capability[1]}"


Load = Callable[[str], ModuleType]


def find_library(target: str, load: Load = import_module) -> tuple[ModuleType | None, str | None]:
    """The target's library, or what to say about its absence."""
    name = MODULES[target]
    try:
        return load(name), None
    except (ImportError, OSError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return None, f"library: Python package {name!r} with its shared libraries does not load ({first_line[:160]})"


def find_gpu(driver: str = _DRIVER) -> tuple[Gpu | None, str | None]:
    """The first GPU through the CUDA driver itself (no toolkit needed), or what is missing."""
    try:
        cuda = ctypes.CDLL(driver)
    except OSError:
        return None, f"driver: {driver} does not load, so there is no NVIDIA driver"
    if not hasattr(cuda, "cuInit"):
        return None, f"driver: {driver} is no CUDA driver"
    count = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) or count.value < 1:
        return None, "GPU: the driver shows no device"
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    failed = (
        cuda.cuDeviceGet(ctypes.byref(device), 0)
        or cuda.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device)
    )
    if failed:
        return None, f"GPU: the driver does not say what its device can do (CUDA error {failed})"
    return Gpu(capability=(major.value, minor.value)), None


def require_tensorrt(
    *,
    capabilities: Sequence[str],
    find: Callable[[str], tuple[ModuleType | None, str | None]] = find_library,
    gpu: Callable[[], tuple[Gpu | None, str | None]] = find_gpu,
) -> tuple[ModuleType, Gpu]:
    """Library and GPU for the `tensorrt` target, which builds for the GPU that it runs on.

    `capabilities` (such as "sm90"): those asked for; empty means whatever is here. Raises TargetMissing that names
    everything missing at once, not just the first.
    """
    library, no_library = find("tensorrt")
    found, no_gpu = gpu()
    missing = [problem for problem in (no_library, no_gpu) if problem]
    if found is not None and capabilities and found.name not in capabilities:
        missing.append(f"compute capability: the GPU here is {found.name}, asked for {', '.join(capabilities)}")
    if library is None and found is None and capabilities:
        missing.append(f"compute capability: {' or '.join(capabilities)} is asked for, no GPU is here")
    if missing or library is None or found is None:
        raise TargetMissing("tensorrt", missing)
    return library, found


def require_tensorrt_rtx(
    find: Callable[[str], tuple[ModuleType | None, str | None]] = find_library,
) -> ModuleType:
    """The builder of `tensorrt-rtx`, which needs neither driver nor GPU. Raises TargetMissing."""
    library, no_library = find("tensorrt-rtx")
    if library is None:
        raise TargetMissing("tensorrt-rtx", [no_library or "library"])
    return library
