"""Which model predicts better: comparison of fits to the same trials."""
