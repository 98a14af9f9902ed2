"""Metrics computed from networks and images."""
