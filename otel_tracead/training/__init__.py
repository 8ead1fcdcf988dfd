"""Side room: learns a model from traces of normal traffic (torch, the extra `train`); the service never enters it."""
