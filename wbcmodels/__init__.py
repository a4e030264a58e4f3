"""Networks for blood cell images, as configurations that build them.

`wbcmodels.network` says what a configuration offers. `wbcmodels.config` holds the WBCsNet family: small networks
with a residual block at any subset of stages. Importing a configuration does not import torch.
"""
