"""Weights of other toolkits: their names of weights, features and normalisation, one file a toolkit.

A toolkit's has a function `read(weights: Weights) -> Foreign`, listed in toolkits.py, which import_model.py calls;
mapped.py and what uses it are networks that several toolkits have under the same names.
"""
