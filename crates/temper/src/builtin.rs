//! The recipes and sweeps that Temper carries.

use temper_recipe::Library;

use crate::schema::SCHEMA;

/// The built-in recipes by name.
pub const LIBRARY: Library<'static> = Library {
    schema: &SCHEMA,
    recipes: &[
        ("demo/english", include_str!("../../../recipes/demo/english.toml")),
        ("demo/rewarmed", include_str!("../../../recipes/demo/rewarmed.toml")),
        ("demo/constant", include_str!("../../../recipes/demo/constant.toml")),
        ("demo/scratch", include_str!("../../../recipes/demo/scratch.toml")),
        ("demo/vanilla", include_str!("../../../recipes/demo/vanilla.toml")),
        ("demo/fast", include_str!("../../../recipes/demo/fast.toml")),
        ("rewarm/small", include_str!("../../../recipes/rewarm/small.toml")),
        ("rewarm/docs", include_str!("../../../recipes/rewarm/docs.toml")),
        ("rewarm/docs-to-prose", include_str!("../../../recipes/rewarm/docs-to-prose.toml")),
        ("rewarm/docs-to-german", include_str!("../../../recipes/rewarm/docs-to-german.toml")),
        ("rewarm/replay", include_str!("../../../recipes/rewarm/replay.toml")),
        ("rewarm/infinite", include_str!("../../../recipes/rewarm/infinite.toml")),
        ("rewarm/pythia-410m", include_str!("../../../recipes/rewarm/pythia-410m.toml")),
        ("rewarm/pythia-410m-pile", include_str!("../../../recipes/rewarm/pythia-410m-pile.toml")),
        ("rewarm/pile-to-slimpajama", include_str!("../../../recipes/rewarm/pile-to-slimpajama.toml")),
        ("fastibp/mnist-small", include_str!("../../../recipes/fastibp/mnist-small.toml")),
        ("fastibp/mnist-cnn7", include_str!("../../../recipes/fastibp/mnist-cnn7.toml")),
        ("fastibp/fashion-cnn7", include_str!("../../../recipes/fastibp/fashion-cnn7.toml")),
        ("fastibp/cifar10-cnn7", include_str!("../../../recipes/fastibp/cifar10-cnn7.toml")),
        ("fastibp/cifar10-cnn7-70", include_str!("../../../recipes/fastibp/cifar10-cnn7-70.toml")),
        ("fastibp/cifar10-wrn", include_str!("../../../recipes/fastibp/cifar10-wrn.toml")),
        ("fastibp/cifar10-resnext", include_str!("../../../recipes/fastibp/cifar10-resnext.toml")),
        ("fastibp/tinyimagenet-cnn7", include_str!("../../../recipes/fastibp/tinyimagenet-cnn7.toml")),
    ],
};

/// The built-in sweeps by name.
pub const SWEEPS: &[(&str, &str)] = &[
    ("rewarm/warmup-length", include_str!("../../../sweeps/rewarm/warmup-length.toml")),
    ("rewarm/max-lr", include_str!("../../../sweeps/rewarm/max-lr.toml")),
    ("rewarm/same-data", include_str!("../../../sweeps/rewarm/same-data.toml")),
    ("rewarm/checkpoint", include_str!("../../../sweeps/rewarm/checkpoint.toml")),
    ("rewarm/replay", include_str!("../../../sweeps/rewarm/replay.toml")),
    ("rewarm/infinite", include_str!("../../../sweeps/rewarm/infinite.toml")),
    ("rewarm/optimizer-state", include_str!("../../../sweeps/rewarm/optimizer-state.toml")),
    ("fastibp/methods", include_str!("../../../sweeps/fastibp/methods.toml")),
    ("fastibp/ablation", include_str!("../../../sweeps/fastibp/ablation.toml")),
    ("fastibp/ramp", include_str!("../../../sweeps/fastibp/ramp.toml")),
    ("fastibp/init-gain", include_str!("../../../sweeps/fastibp/init-gain.toml")),
];
