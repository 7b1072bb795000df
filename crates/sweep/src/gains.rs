//! Sweeps that train nothing: the difference gains of fresh networks (section 3 of arXiv 2103.17268), for every way to draw the
//! first weights.

use burn::tensor::Device;
use temper::Trains;
use temper::builtin::LIBRARY;
use temper_base::listener::Meter;
use temper_base::{Problem, Problems, Result};
use temper_certify::layers::look_at_layers;
use temper_certify::spec::{CertifySpec, fill_method};
use temper_certify::{images, start};
use temper_model::image::Statistics;
use temper_recipe::Recipe;
use temper_report::text::escape;
use temper_report::{InitGains, gain_table};
use temper_train::spec::Spec;

use crate::results::{Measured, metrics};
use crate::{Chosen, Curve, Sweep};

/// Images that the gains are taken on.
const IMAGES: usize = 64;
/// What is recorded: over all layers but the first, whose input no ReLU has halved.
const METRICS: [&str; 4] = ["gain/mean", "gain/largest", "after/mean", "after/largest"];

/// The recipes of every variant with one seed, checked.
///
/// # Errors
/// Everything that is wrong with the recipes of the variants, and what a sweep of gains cannot have.
pub fn recipes(sweep: &Sweep, chosen: &Chosen, seeds: &[u64]) -> Result<Vec<(usize, u64, CertifySpec)>, Problems> {
    let (mut all, mut problems) = (Vec::new(), Vec::<Problem>::new());
    for metric in metrics(sweep).into_iter().filter(|metric| !METRICS.contains(&metric.as_str())) {
        let problem =
            Problem::input("read sweep", &sweep.name, format!("{metric}: a sweep of gains has no such metric"));
        problems.push(problem.hint(format!("there are {}", METRICS.join(", "))));
    }
    if chosen.size.base.is_some() {
        let problem =
            Problem::input("read sweep", &sweep.name, "a sweep of gains looks at fresh networks and has no base");
        problems.push(problem.hint(format!("take base out of size {}", chosen.size.name)));
    }
    for variant in chosen.variants.iter().filter(|variant| !variant.scale.is_empty()) {
        let place = format!("{}: variant {:?}", sweep.name, variant.name);
        problems.push(Problem::input("read sweep", place, "a sweep of gains scales nothing").hint("set the value"));
    }
    for (index, variant) in chosen.variants.iter().enumerate() {
        for &seed in seeds {
            let overrides = [variant.set.as_slice(), &[format!("seed={seed}")]].concat();
            match load(&variant.recipe, &overrides) {
                Ok(spec) => all.push((index, seed, spec)),
                Err(found) => problems
                    .extend(found.0.into_iter().filter(|problem| !problems.contains(problem)).collect::<Vec<_>>()),
            }
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(problems.into()) }
}

fn load(source: &str, overrides: &[String]) -> Result<CertifySpec, Problems> {
    let mut recipe = Recipe::load(source, overrides, &LIBRARY)?;
    if Trains::of(&recipe) != Trains::Classifier {
        let problem = Problem::input("read sweep", source, "gains are those of an image classifier");
        return Err(problem.hint("a recipe of task = \"certify\"").into());
    }
    fill_method(&mut recipe)?;
    CertifySpec::read(&recipe)
}

/// Measures every variant. The tables of the gains by layer, as HTML, are those of the first seed.
///
/// # Errors
/// Images that cannot be read, and networks that they do not fit.
pub fn measure_gains(
    chosen: &Chosen,
    recipes: &[(usize, u64, CertifySpec)],
    device: &Device,
    meter: &Meter,
) -> Result<(Vec<Measured>, String), Problems> {
    let (mut measured, mut tables) = (Vec::new(), Vec::<(String, Vec<String>, Vec<InitGains>)>::new());
    let Some((_, first, any)) = recipes.first() else { return Ok((measured, String::new())) };
    let mut path = any.images()?;
    let mut data = images::open(any)?;
    for (n, (index, seed, spec)) in recipes.iter().enumerate() {
        let variant = &chosen.variants[*index];
        meter.update(n as u64, format_args!("{} {}, seed {seed}", variant.setting, variant.name));
        if spec.images()? != path {
            path = spec.images()?;
            data = images::open(spec)?;
        }
        let net = start::fresh_network(spec, &data, device)?;
        let rows = look_at_layers(&net, &data.test, IMAGES, spec.target()?, Statistics::Batch, device);
        let (before, after): (Vec<f64>, Vec<f64>) = rows.iter().skip(1).map(|row| (row.gain, row.gain_after)).unzip();
        if before.is_empty() {
            return Err(Problems(vec![spec.problem("model", "it has one layer with a gain only")]));
        }
        let mean = |gains: &[f64]| (gains.iter().map(|gain| gain.ln()).sum::<f64>() / gains.len() as f64).exp();
        let largest = |gains: &[f64]| gains.iter().copied().fold(f64::NAN, f64::max);
        let values = [mean(&before), largest(&before), mean(&after), largest(&after)];
        let curves = METRICS.iter().zip(values).map(|(name, value)| ((*name).to_owned(), Curve(vec![(0.0, value)])));
        measured.push(Measured {
            variant: *index,
            seed: *seed,
            unit: "images",
            amount: 0.0,
            run: String::new(),
            curves: curves.collect(),
        });
        if seed == first {
            let gains = InitGains {
                init: variant.name.clone(),
                before: rows.iter().map(|row| Some(row.gain)).collect(),
                after: rows.iter().map(|row| Some(row.gain_after)).collect(),
            };
            match tables.iter_mut().find(|(setting, _, _)| *setting == variant.setting) {
                Some((_, _, inits)) => inits.push(gains),
                None => {
                    let layers = rows.iter().map(|row| row.layer.clone()).collect();
                    tables.push((variant.setting.clone(), layers, vec![gains]));
                }
            }
        }
    }
    let table = |(setting, layers, inits): &(String, Vec<String>, Vec<InitGains>)| {
        format!("<h2>Gain by layer {}, seed {first}</h2>{}", escape(setting), gain_table(layers, inits).to_html())
    };
    Ok((measured, tables.iter().map(table).collect()))
}
