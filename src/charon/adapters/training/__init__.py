"""Training networks for an instrument; the only room that knows PyTorch."""

from charon.adapters.training.recipe import FORMS, Form, TrainOptions
from charon.adapters.training.train import train

__all__ = ["FORMS", "Form", "TrainOptions", "train"]
