"""Floor 1: the model folder of the contract's section 4: manifest, labels, calibration, network; no torch, no sockets."""
