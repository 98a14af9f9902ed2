"""Typed hyper-parameters and budgets; imports no torch."""
