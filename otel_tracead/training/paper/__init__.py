"""The paper's networks as it describes them: LSTM and dense, for one modality and for both; see `models.train_model`."""
