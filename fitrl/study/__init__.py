"""Many fits of simulated data: parameter recovery and simulation-based calibration."""
