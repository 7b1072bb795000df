//! A parameter of any rank, as the optimiser and the checkpoint see it.

use burn::tensor::{Device, Tensor, TensorData};
use temper_ops::read;

/// Called with the name and the borrow of every parameter.
pub type Visitor<'v> = dyn FnMut(&str, Parameter<'_>) + 'v;

/// A model as the optimiser sees it. Cloning shares the weights.
pub trait Parameters: Clone {
    /// Visits every parameter, always in the same order.
    fn visit(&mut self, f: &mut Visitor);

    /// The same parameters as leaves of a new gradient tape.
    fn leaves(&self) -> Self {
        let mut leaves = self.clone();
        leaves.visit(&mut |_, parameter| parameter.into_leaf());
        leaves
    }
}

/// The first entry of a parameter that is not finite: tensor, index, value.
pub fn first_non_finite(model: &impl Parameters) -> Option<(String, usize, f32)> {
    let mut bad = None;
    model.clone().visit(&mut |name, parameter| {
        if bad.is_none()
            && let Some((i, value)) = parameter.to_vec().iter().enumerate().find(|(_, value)| !value.is_finite())
        {
            bad = Some((name.to_string(), i, *value));
        }
    });
    bad
}

/// A mutable borrow of one parameter tensor.
pub enum Parameter<'a> {
    /// Biases and normalisation parameters.
    Vector(&'a mut Tensor<1>),
    /// Weights of linear layers and embeddings.
    Matrix(&'a mut Tensor<2>),
    /// Weights of convolutions, `[O, I / groups, K, K]`.
    Kernel(&'a mut Tensor<4>),
}

impl Parameter<'_> {
    /// The sizes of its dimensions.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Parameter::Vector(tensor) => tensor.dims().to_vec(),
            Parameter::Matrix(tensor) => tensor.dims().to_vec(),
            Parameter::Kernel(tensor) => tensor.dims().to_vec(),
        }
    }

    /// The number of its values.
    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// True if it holds no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it lives.
    pub fn device(&self) -> Device {
        match self {
            Parameter::Vector(tensor) => tensor.device(),
            Parameter::Matrix(tensor) => tensor.device(),
            Parameter::Kernel(tensor) => tensor.device(),
        }
    }

    /// A copy of its values, row-major.
    pub fn to_vec(&self) -> Vec<f32> {
        match self {
            Parameter::Vector(tensor) => read((*tensor).clone()),
            Parameter::Matrix(tensor) => read((*tensor).clone()),
            Parameter::Kernel(tensor) => read((*tensor).clone()),
        }
    }

    /// Its values, row-major, when they are called for; until then they are shared, not copied.
    pub fn deferred(&self) -> Box<dyn Fn() -> Vec<f32>> {
        fn values<const D: usize>(tensor: &Tensor<D>) -> Box<dyn Fn() -> Vec<f32>> {
            let tensor = tensor.clone();
            Box::new(move || read(tensor.clone()))
        }
        match self {
            Parameter::Vector(tensor) => values(tensor),
            Parameter::Matrix(tensor) => values(tensor),
            Parameter::Kernel(tensor) => values(tensor),
        }
    }

    /// Replaces its values; `values` has its length.
    pub fn set(&mut self, values: Vec<f32>, device: &Device) {
        fn put<const D: usize>(tensor: &mut Tensor<D>, values: Vec<f32>, device: &Device) {
            *tensor = Tensor::from_data(TensorData::new(values, tensor.dims()), device);
        }
        match self {
            Parameter::Vector(tensor) => put(tensor, values, device),
            Parameter::Matrix(tensor) => put(tensor, values, device),
            Parameter::Kernel(tensor) => put(tensor, values, device),
        }
    }

    /// Hands the values, flat, to `f` and takes back what it returns. Nobody else holds them
    /// meanwhile, so `f` can write in place.
    pub fn update(self, f: impl FnOnce(Tensor<1>) -> Tensor<1>) {
        fn replace<const D: usize>(tensor: &mut Tensor<D>, f: impl FnOnce(Tensor<1>) -> Tensor<1>) {
            let (device, dims) = (tensor.device(), tensor.dims());
            let empty = Tensor::from_data(TensorData::new(Vec::<f32>::new(), [0; D]), &device);
            let owned = std::mem::replace(tensor, empty);
            *tensor = f(owned.reshape([-1])).reshape(dims);
        }
        match self {
            Parameter::Vector(tensor) => replace(tensor, f),
            Parameter::Matrix(tensor) => replace(tensor, f),
            Parameter::Kernel(tensor) => replace(tensor, f),
        }
    }

    /// Makes it a leaf of a new gradient tape.
    pub fn into_leaf(self) {
        match self {
            Parameter::Vector(tensor) => *tensor = tensor.clone().autodiff().require_grad(),
            Parameter::Matrix(tensor) => *tensor = tensor.clone().autodiff().require_grad(),
            Parameter::Kernel(tensor) => *tensor = tensor.clone().autodiff().require_grad(),
        }
    }
}
