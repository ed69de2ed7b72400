"""EPICS pvAccess: images and positions in, images out. The only room that speaks it."""

from charon.adapters.pvaccess.codecs import CODECS
from charon.adapters.pvaccess.faults import FAULTS, spoiled
from charon.adapters.pvaccess.monitor import FrameMonitor, RawUpdate, Subscription
from charon.adapters.pvaccess.ntndarray import AttributeNames, frame_from, identify
from charon.adapters.pvaccess.ntndarray_builder import ntndarray_from, stamp_image
from charon.adapters.pvaccess.positions import PositionMonitor, RawPosition, position_from, position_structure
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
    "frame_from",
    "identify",
    "ntndarray_from",
    "position_from",
    "position_structure",
    "spoiled",
    "stamp_image",
]
