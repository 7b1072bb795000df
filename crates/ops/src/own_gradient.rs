//! Operations made of tensor operations, on any device, with a gradient of their own: where Burn's is wrong, or would keep what is
//! cheaper to compute again. The counterpart of [`crate::fused`], which works on slices of the processor.

use std::fmt::Debug;

use burn::backend::{
    Autodiff, AutodiffBackend, Backend, BackendTypes, DispatchDevice, DispatchKindConversion, DispatchTensor, Flex,
};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

/// An operation on `N` matrices with one output whose gradient is written by hand. Both passes see tensors off the tape.
pub(crate) trait OwnGradient<const N: usize, const D: usize>: Clone + Send + Debug + 'static {
    /// What the backward pass needs; tensors in it are shared, not copied.
    type Saved: Clone + Send + Debug + 'static;

    /// The output, and what to save. `tracked` is false where no gradient will be asked for.
    fn forward(&self, inputs: [Tensor<2>; N], tracked: bool) -> (Tensor<D>, Self::Saved);

    /// The gradients of the inputs, in their order.
    fn backward(&self, saved: Self::Saved, gradient: Tensor<D>) -> [Tensor<2>; N];
}

/// Runs such an operation, on the tape when any input is.
pub(crate) fn apply<const N: usize, const D: usize, F: OwnGradient<N, D>>(
    operation: F,
    inputs: [Tensor<2>; N],
) -> Tensor<D> {
    if !inputs.iter().any(Tensor::is_autodiff) {
        return operation.forward(inputs, false).0;
    }
    match inputs[0].device().inner().as_dispatch() {
        DispatchDevice::Flex(_) => on_tape::<N, D, F, Flex>(operation, inputs),
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        DispatchDevice::Cube(_) => on_tape::<N, D, F, burn::backend::Cube>(operation, inputs),
        other => unreachable!("no backend of this build has {other:?}"),
    }
}

/// A backend with a tape on top.
type Tape<B> = Autodiff<B, NoCheckpointing>;

fn on_tape<const N: usize, const D: usize, F: OwnGradient<N, D>, B: Backend>(
    operation: F,
    inputs: [Tensor<2>; N],
) -> Tensor<D>
where
    DispatchTensor: DispatchKindConversion<B> + DispatchKindConversion<Tape<B>>,
{
    let mut tensors = Vec::with_capacity(N);
    let nodes = inputs.map(|input| {
        let taped = if input.is_autodiff() {
            input.try_into_primitive::<Tape<B>>().expect("a tensor on the tape of its device")
        } else {
            let plain = input.try_into_primitive::<B>().expect("a tensor off the tape, on the same device");
            <Tape<B> as AutodiffBackend>::from_inner(plain)
        };
        let (tensor, node) = taped.into_parts();
        tensors.push(Tensor::from_primitive::<B>(tensor));
        node
    });
    let tensors: [Tensor<2>; N] = tensors.try_into().expect("one tensor an input");
    let primitive = |tensor: Tensor<D>| -> <B as BackendTypes>::FloatTensorPrimitive {
        tensor.try_into_primitive::<B>().expect("the output is where the inputs are")
    };
    let node = Node::<F, D>(operation.clone());
    let output = match Backward::<B, N>::prepare::<NoCheckpointing>(node, nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, saved) = operation.forward(tensors, true);
            prepared.finish(saved, primitive(output))
        }
        OpsKind::UnTracked(prepared) => prepared.finish(primitive(operation.forward(tensors, false).0)),
    };
    Tensor::from_primitive::<Tape<B>>(output)
}

/// The operation as a node of Burn's graph.
#[derive(Debug)]
struct Node<F, const D: usize>(F);

impl<const N: usize, const D: usize, F: OwnGradient<N, D>, B: Backend> Backward<B, N> for Node<F, D>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    type State = F::Saved;

    fn backward(self, ops: Ops<F::Saved, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Tensor::<D>::from_primitive::<B>(gradients.consume::<B>(&ops.node));
        for (parent, gradient) in ops.parents.into_iter().zip(self.0.backward(ops.state, gradient)) {
            if let Some(parent) = parent {
                let gradient = gradient.try_into_primitive::<B>().expect("a gradient is where its input is");
                gradients.register::<B>(parent.id, gradient);
            }
        }
    }
}
