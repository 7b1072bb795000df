//! The exchange formats of verification: networks as ONNX, properties as VNN-LIB, counterexamples and lists of instances.
//!
//! | file | what |
//! |---|---|
//! | [`onnx`] | ONNX into a [`Computation`](temper_graph::Computation), a [`Network`](temper_graph::Network) into ONNX |
//! | [`vnnlib`] | VNN-LIB 1.0 and 2.0 into properties, properties into VNN-LIB |
//! | [`witness`] | counterexample files |
//! | [`instances`] | `instances.csv` of a benchmark set |

#![warn(clippy::missing_errors_doc)]

pub mod instances;
pub mod onnx;
pub mod vnnlib;
pub mod witness;
