//! A method of training is one file and a line of the table: this file is such a file, and what reads recipes, trains, plans and tells
//! of keys without effect takes it as it is.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use temper_bounds::losses;
use temper_certify::cost::{Memory, passes};
use temper_certify::method::Method;
use temper_certify::methods::{BoundedObjective, Bounds, Named, Objective};
use temper_certify::network::FirstWeights;
use temper_certify::radius::EpsAt;
use temper_certify::spec::{self, CertifySpec};
use temper_certify::step::{Accumulation, Batch, Update, train_step};
use temper_graph::{BatchNorm, by_name};
use temper_model::Classifier;
use temper_recipe::{Key, Kind, Library, Range, Recipe, Schema};
use temper_train::group::Alone;
use temper_train::optimizer::{Optimizer, Settings};
use temper_train::spec::Spec;
use temper_train::trainer::NO_LIMIT;

/// The robust loss beside a fixed part of the clean one.
#[derive(Debug)]
struct Mixed {
    clean: f64,
}

impl Objective for Mixed {
    fn bounded(&self) -> Option<&dyn BoundedObjective> {
        Some(self)
    }
}

impl BoundedObjective for Mixed {
    fn robust_loss(&self, bounds: &Bounds) -> Tensor<1> {
        losses::robust_loss(bounds.net.margins(bounds.trace, bounds.labels))
    }

    fn clean_part(&self, _: &EpsAt) -> f64 {
        self.clean
    }
}

static MIXED: Named = Named {
    name: "mixed",
    keys: &[Key::new("method.clean", Kind::Float(Range::ZeroToOne), "mixed: part of the clean loss").default("0.5")],
    regularised: false,
    first_weights: FirstWeights::Default,
    read: |recipe| Ok(Arc::new(Mixed { clean: recipe.f64("method.clean")? })),
};

static SCHEMA: Schema = Schema {
    tasks: &[&spec::TASK],
    sections: &[
        "",
        "model",
        "init",
        "method",
        "eps",
        "data",
        "batch",
        "optimizer",
        "lr",
        "run",
        "eval",
        "checkpoint",
        "log",
    ],
    keys: &[&[temper_recipe::KEYS], temper_train::spec::KEYS, spec::KEYS, &[MIXED.keys]],
};

const RECIPE: &str = "model.name = 'small'\ndata.images = 'builtin:fashion'\neps.target = 0.1\nlr.peak = 1e-3\n\
    run.horizon = '100 steps'\nmethod.clean = 0.25\n";

#[test]
fn a_method_is_one_file() {
    let library = Library { schema: &SCHEMA, recipes: &[] };
    let recipe = Recipe::from_text("mixed.toml", RECIPE, &[], &library).unwrap();
    let spec = CertifySpec::read(&recipe).unwrap();
    let method =
        Method { objective: (MIXED.read)(&recipe).unwrap(), tightness: false, relu_balance: false, ..spec.method };

    let device = Device::flex();
    let config = by_name("small", Some(2), BatchNorm::Full, [1, 28, 28], 10).unwrap();
    let mut net = Classifier::new(config.clone(), spec.network.init(), 1, &device);
    let settings = Settings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, clip: 10.0 };
    let mut optimizer = Optimizer::new(settings, &net, &device);
    let pixels = (0..8 * 784).map(|i| (i * 7 % 11) as f32 / 10.0).collect();
    let batch = Batch { pixels, labels: (0..8).collect() };
    let radius = EpsAt { eps: 0.02, target: 0.1, weight: 0.0 };
    let accumulation = Accumulation { shards: 1, pieces: 1, whole_batch_statistics: false };
    let update = Update { batch: &batch, method: &method, radius: &radius, accumulation, lr: 1e-3, step: 1, seed: 1 };
    let made = train_step(&mut net, &mut optimizer, update, &Alone, NO_LIMIT, &device).unwrap().unwrap();
    let expected = 0.75 * made.robust_loss.unwrap() + 0.25 * made.clean_loss;
    assert!((made.loss - expected).abs() < 1e-5, "{made:?}");

    // Clean, centre and radius, each with a backward pass of twice the arithmetic.
    assert_eq!(passes(&method, &radius, 10), 9);
    let plain = Method {
        objective: temper_certify::methods::find_method("plain").map(|it| (it.read)(&recipe).unwrap()).unwrap(),
        ..method.clone()
    };
    let memory = |method: &Method| Memory::of(&config, method, 1, 8, 1, 8).unwrap().activations;
    assert!(memory(&method) > 2 * memory(&plain));
}
