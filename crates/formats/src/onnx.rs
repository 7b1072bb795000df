//! ONNX.

/// A network that was read.
#[derive(Debug, Clone)]
pub struct OnnxModel {
    /// What it computes.
    pub computation: temper_graph::Computation,
}

/// Reads a file.
///
/// # Errors
/// Until there is a reader, always.
pub fn read(path: &std::path::Path) -> temper_base::Result<OnnxModel> {
    Err(temper_base::Problem::input("read network", path.display(), "not yet"))
}
