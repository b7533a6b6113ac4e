"""Fitting: sample, judge, save, load, predict."""
