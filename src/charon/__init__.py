"""Charon: live X-ray ptychography, from the detector to the image, with every frame accounted for."""

__version__ = "0.1.0"
