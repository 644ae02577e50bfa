"""Folders of photographs to CNN features and reduced features, on Spark."""
