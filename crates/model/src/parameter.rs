//! A parameter of any rank, as the optimiser and the checkpoint see it.

use burn::tensor::{Device, Tensor, TensorData};

/// Called with the name and the borrow of every parameter.
pub type Visitor<'v> = dyn FnMut(&str, Parameter<'_>) + 'v;

/// A model as the optimiser sees it. Cloning shares the weights.
pub trait Parameters: Clone {
    /// Visits every parameter, always in the same order.
    fn visit(&mut self, f: &mut Visitor);

    /// The same parameters as leaves of a new gradient tape.
    fn leaves(&self) -> Self {
        let mut leaves = self.clone();
        leaves.visit(&mut |_, parameter| match parameter {
            Parameter::Vector(tensor) => *tensor = tensor.clone().autodiff().require_grad(),
            Parameter::Matrix(tensor) => *tensor = tensor.clone().autodiff().require_grad(),
        });
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
}

impl Parameter<'_> {
    /// The sizes of its dimensions.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Parameter::Vector(tensor) => tensor.dims().to_vec(),
            Parameter::Matrix(tensor) => tensor.dims().to_vec(),
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

    /// A copy of its values, row-major.
    pub fn to_vec(&self) -> Vec<f32> {
        let data = match self {
            Parameter::Vector(tensor) => tensor.to_data(),
            Parameter::Matrix(tensor) => tensor.to_data(),
        };
        data.try_into_vec().expect("parameters are f32")
    }

    /// Replaces its values; `values` has its length.
    pub fn set(&mut self, values: Vec<f32>, device: &Device) {
        match self {
            Parameter::Vector(tensor) => {
                **tensor = Tensor::from_data(TensorData::new(values, tensor.dims()), device);
            }
            Parameter::Matrix(tensor) => {
                **tensor = Tensor::from_data(TensorData::new(values, tensor.dims()), device);
            }
        }
    }

    /// Hands the values, flat, to `f` and takes back what it returns. Nobody else holds them
    /// meanwhile, so `f` can write in place.
    pub fn update(self, f: impl FnOnce(Tensor<1>) -> Tensor<1>) {
        match self {
            Parameter::Vector(tensor) => {
                let device = tensor.device();
                *tensor =
                    f(std::mem::replace(tensor, Tensor::from_data(TensorData::new(Vec::<f32>::new(), [0]), &device)));
            }
            Parameter::Matrix(tensor) => {
                let (device, dims) = (tensor.device(), tensor.dims());
                let owned =
                    std::mem::replace(tensor, Tensor::from_data(TensorData::new(Vec::<f32>::new(), [0, 0]), &device));
                *tensor = f(owned.flatten(0, 1)).reshape(dims);
            }
        }
    }
}
