//! The glue between a slice kernel and Burn's autodiff graph, written once for every operation.

use std::fmt::Debug;

use burn::backend::{Autodiff, DispatchDevice, Flex};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;

/// The CPU backend with a tape on top.
type Tape = Autodiff<Flex, NoCheckpointing>;

/// An operation with `N` tensor inputs and one output whose gradient is written by hand.
pub(crate) trait Fused<const N: usize>: Clone + Send + Debug + 'static {
    /// What the backward pass needs; tensors in it are shared, not copied.
    type Saved: Clone + Send + Debug + 'static;

    /// The output, and what to save. `tracked` is false where no gradient will be asked for.
    fn forward(&self, inputs: [FlexTensor; N], tracked: bool) -> (FlexTensor, Self::Saved);

    /// The gradients of the inputs, in their order; inputs with `needed[i] == false` may be `None`.
    fn backward(&self, saved: Self::Saved, gradient: FlexTensor, needed: [bool; N]) -> [Option<FlexTensor>; N];
}

/// An input of any rank on its way into an operation.
pub(crate) enum Input {
    Plain(FlexTensor),
    Taped(<Tape as burn::backend::BackendTypes>::FloatTensorPrimitive),
}

impl Input {
    /// Takes a tensor that lives on the CPU backend, on the tape or off it.
    pub(crate) fn new<const D: usize>(tensor: Tensor<D>) -> Self {
        if tensor.is_autodiff() {
            Input::Taped(tensor.try_into_primitive::<Tape>().expect("a CPU tensor on the tape"))
        } else {
            Input::Plain(tensor.try_into_primitive::<Flex>().expect("a CPU tensor"))
        }
    }
}

/// True where the fused body can run.
pub(crate) fn on_cpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    is_cpu(&tensor.device())
}

/// True for the processor, on the tape or off it.
pub(crate) fn is_cpu(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}

/// Runs a fused operation, on the tape when any input is.
pub(crate) fn apply<const N: usize, const D: usize, F: Fused<N>>(operation: F, inputs: [Input; N]) -> Tensor<D> {
    if inputs.iter().all(|input| matches!(input, Input::Plain(_))) {
        let plain = inputs.map(|input| match input {
            Input::Plain(tensor) => contiguous(tensor),
            Input::Taped(_) => unreachable!("checked above"),
        });
        return Tensor::from_primitive::<Flex>(operation.forward(plain, false).0);
    }
    let taped = inputs.map(|input| match input {
        Input::Taped(tensor) => tensor,
        Input::Plain(tensor) => <Tape as burn::backend::AutodiffBackend>::from_inner(tensor),
    });
    let mut tensors = Vec::with_capacity(N);
    let nodes = taped.map(|tensor| {
        let (tensor, node) = tensor.into_parts();
        tensors.push(contiguous(tensor));
        node
    });
    let tensors: [FlexTensor; N] = tensors.try_into().expect("one tensor an input");
    let output = match Node(operation.clone()).prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, saved) = operation.forward(tensors, true);
            prepared.finish(saved, output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(operation.forward(tensors, false).0),
    };
    Tensor::from_primitive::<Tape>(output)
}

/// The operation as a node of Burn's graph.
#[derive(Debug)]
struct Node<F>(F);

impl<const N: usize, F: Fused<N>> Backward<Flex, N> for Node<F> {
    type State = F::Saved;

    fn backward(self, ops: Ops<F::Saved, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = contiguous(gradients.consume::<Flex>(&ops.node));
        let needed = ops.parents.each_ref().map(Option::is_some);
        for (parent, gradient) in ops.parents.into_iter().zip(self.0.backward(ops.state, gradient, needed)) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

pub(crate) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() }
}

/// The values of a tensor that [`apply`] has made contiguous.
pub(crate) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("apply hands out contiguous f32 tensors")
}

/// The values of a gradient that an operation replaces; they are copied first where something else has them too.
pub(crate) fn values_mut(gradient: &mut FlexTensor) -> &mut [f32] {
    if gradient.storage::<f32>().len() != values(gradient).len() {
        *gradient = tensor(values(gradient).to_vec(), gradient.layout().shape().clone());
    }
    gradient.storage_mut()
}

/// Takes a vector over as a tensor without copying it.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}

/// Rows and columns of a matrix.
pub(crate) fn matrix(tensor: &FlexTensor) -> [usize; 2] {
    tensor.layout().shape().dims()
}
