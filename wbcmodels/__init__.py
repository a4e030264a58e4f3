"""The WBCsNet family: small networks for blood cell images with a residual block at any subset of stages.

`wbcmodels.config` and `wbcmodels.cost` are plain Python; only `wbcmodels.family` imports torch.
"""
