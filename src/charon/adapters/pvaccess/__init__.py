"""EPICS pvAccess: reads frames and positions, publishes images; the only package that imports PvaPy."""

from charon.adapters.pvaccess.codecs import CODECS
from charon.adapters.pvaccess.faults import FAULTS, corrupt
from charon.adapters.pvaccess.monitor import FrameMonitor, RawUpdate, Subscription
from charon.adapters.pvaccess.ntndarray import AttributeNames, decode_frame, identify
from charon.adapters.pvaccess.ntndarray_builder import build_ntndarray, set_id_and_time
from charon.adapters.pvaccess.positions import PositionMonitor, RawPosition, build_position, decode_position
from charon.adapters.pvaccess.server import ImageServer

__all__ = [
    "CODECS",
    "FAULTS",
    "AttributeNames",
    "FrameMonitor",
    "ImageServer",
    "PositionMonitor",
    "RawPosition",
    "RawUpdate",
    "Subscription",
    "build_ntndarray",
    "build_position",
    "corrupt",
    "decode_frame",
    "decode_position",
    "identify",
    "set_id_and_time",
]
