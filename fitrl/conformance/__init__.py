"""Whether a model is what it says: one suite for the models of the zoo and for a user's own file."""
