"""What is in a model and what becomes of it here, told before it runs."""

from planish.inspection.inspect import inspect_model
from planish.inspection.result import Inspection, LayerFacts, Operator, Source, TensorFacts, WeightFacts

__all__ = ["Inspection", "LayerFacts", "Operator", "Source", "TensorFacts", "WeightFacts", "inspect_model"]
