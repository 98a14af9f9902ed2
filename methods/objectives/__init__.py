"""What a student may minimise: one published objective in each file, put on any method.

`methods.base.objective` has their contract, and the two losses that methods have of their own.
"""
