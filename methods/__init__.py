"""Data-free knowledge distillation methods, usable on any teacher without the benchmark."""
