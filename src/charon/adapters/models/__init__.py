"""Network architectures, their ONNX graphs, the import of published weights, and evaluation."""

from charon.adapters.models.importer import ImportOptions, PublishedForm, import_weights

__all__ = ["ImportOptions", "PublishedForm", "import_weights"]
