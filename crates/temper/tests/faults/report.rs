//! Plans, reports and pages of sweeps.
