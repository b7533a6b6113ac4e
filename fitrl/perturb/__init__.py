"""Lesions, drugs and disorders as changes of parameters: simulated, never advised."""
