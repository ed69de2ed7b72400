"""Networks as plans, ONNX graphs of them, and published weights turned into bundles."""

from charon.adapters.models.importer import ImportOptions, PublishedForm, import_weights

__all__ = ["ImportOptions", "PublishedForm", "import_weights"]
