"""Weights of other toolkits: their names of weights, features and normalisation, one file a toolkit.

Each has a function `read(weights: Weights) -> Foreign`, listed in toolkits.py; import_model.py calls it through there.
"""
