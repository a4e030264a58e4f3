"""A traditional system for blood cell images: segmentation, measured features and a two-step classifier.

`wbcmodels.traditional.config` is plain Python; the modules that do the work import scikit-image and scikit-learn.
"""
