"""The Python interface: load a scenario, analyze or simulate it, keep and reload the results.

Its names are those of the package ``ctxsim``, which loads each from its module on first use.
"""
