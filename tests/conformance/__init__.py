"""What every step, model, feature and operator promises, asked of each that is registered.

Nothing here names one of them: a new file in its package is tested by being there. What a step, model, feature or
operator computes is tested beside this folder, in tests/marketday and tests/operators.
"""
