"""Links, priors and pooling: from a model and trials to a PyMC model."""
