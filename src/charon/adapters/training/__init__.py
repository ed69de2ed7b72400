"""Train networks for an instrument; the only package that imports PyTorch."""

from charon.adapters.training.options import FORMS, Form, TrainOptions
from charon.adapters.training.train import train

__all__ = ["FORMS", "Form", "TrainOptions", "train"]
