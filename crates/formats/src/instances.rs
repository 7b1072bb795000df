//! Lists of instances: `instances.csv`.
