"""Generators and discriminators; looking inside a network; quantising one."""
