//! How fast the bounds of CNN-7 are on this machine, with weights at random: `engine_times [WIDTH] [EPS] [IMAGES]`.

use std::time::Instant;

use temper_graph::{BatchNorm, Network, Op, Weights, by_name};
use temper_verify::cascade::Arithmetic;
use temper_verify::engine::*;

fn main() {
    let argument = |i: usize, default: f64| std::env::args().nth(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (width, eps, images) = (argument(1, 8.0) as usize, argument(2, 0.01), argument(3, 4.0) as usize);
    let computation = network(width).computation().expect("finite weights").merged();
    let net = Prepared::<f32>::new(&computation);
    let double = Prepared::<f64>::new(&computation);
    let mut seed = 7;
    let boxes = |n: usize| -> Vec<Region<f32>> {
        let mut seed = 3;
        let one = |_| {
            let x: Vec<f64> = (0..net.inputs()).map(|_| random(&mut seed).abs()).collect();
            let ends = |sign: f64| x.iter().map(|x| (x + sign * eps).clamp(0.0, 1.0)).collect::<Vec<_>>();
            Region::new(Ends::outward(&ends(-1.0), &ends(1.0)))
        };
        (0..n).map(one).collect()
    };
    let time = |what: &str, n: usize, f: &mut dyn FnMut()| {
        let start = Instant::now();
        f();
        let seconds = start.elapsed().as_secs_f64();
        println!("{what:40} {:10.2} ms each, {:8.1}/s", 1e3 * seconds / n as f64, n as f64 / seconds);
    };
    let never = || false;
    let real = Arithmetic::Real;
    let margins: Vec<f32> =
        (0..90).map(|i| if i % 10 == 0 { 1.0 } else { -f32::from(u8::from(i % 10 == i / 10 + 1)) }).collect();
    time("intervals, 64 together", 640, &mut || {
        for _ in 0..10 {
            intervals(&net, boxes(64), real);
        }
    });
    time("intervals and CROWN, 64 together", 64, &mut || {
        let all = intervals(&net, boxes(64), real);
        let jobs: Vec<_> = all.iter().map(|bounds| Job::new(bounds, net.output(), Rows::Dense(&margins))).collect();
        backward(&net, &jobs, Keep::default());
    });
    let mut last = Vec::new();
    time("CROWN of all layers, one at a time", images, &mut || {
        last = boxes(images).into_iter().map(|b| intermediate(&net, b, real, None, &never)).collect();
    });
    let all: usize = net.relus().map(|node| net.len(node)).sum();
    let unstable: usize = net.relus().map(|node| last[0].ends(net.reads(node)).unstable().count()).sum();
    for node in net.relus() {
        print!("{} of {}; ", last[0].ends(net.reads(node)).unstable().count(), net.len(node));
    }
    let by_ibp = interval(&net, boxes(1).remove(0), real);
    let rows: usize = net.relus().map(|node| 2 * by_ibp.ends(net.reads(node)).unstable().count()).sum();
    println!("{rows} rows by intervals; {:.2} % of {all} neurons unstable", 100.0 * unstable as f64 / all as f64);
    time("the same in double precision, sound", 1, &mut || {
        let ends: Ends<f64> = boxes(1)[0].ends.to();
        intermediate(&double, ends, Arithmetic::Sound, None, &never);
    });
    let domains = vec![Job::new(&last[0], net.output(), Rows::Dense(&margins)); 64];
    time("domains of 9 rows, 64 together", 64, &mut || {
        backward(&net, &domains, Keep::default());
    });
    time("one step of slopes, 64 domains", 64, &mut || {
        optimise(&net, &domains, &Ascent { iterations: 2, threshold: 1e9, ..Ascent::default() }, &never);
    });
    time("product of 1024 x 1024, 2 GFLOP", 10, &mut || {
        let a: Vec<f32> = (0..1 << 20).map(|_| random(&mut seed) as f32).collect();
        let mut c = vec![0.0; 1 << 20];
        for _ in 0..10 {
            use temper_kernels::gemm::{Layout, gemm};
            gemm(1024, 1024, 1024, 1.0, &a, Layout::Normal, &a, Layout::Normal, &mut c, false);
        }
    });
}

/// In [-1, 1).
fn random(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*seed >> 33) as f64 / f64::from(1u32 << 30)) - 1.0
}

fn network(width: usize) -> Network {
    let config = by_name("cnn7-nobn", Some(width), BatchNorm::None, [1, 28, 28], 10).expect("a network");
    let shapes = config.shapes().expect("shapes");
    let mut seed = 1;
    let weights = config.nodes.iter().map(|node| {
        let [inputs, height, columns] = shapes[node.inputs[0]];
        let (outputs, taps) = match node.op {
            Op::Conv { out, kernel, .. } => (out, inputs * kernel * kernel),
            Op::Linear { out } => (out, inputs * height * columns),
            _ => return Weights::None,
        };
        let scale = (6.0 / taps as f64).sqrt();
        let weight = (0..outputs * taps).map(|_| (scale * random(&mut seed)) as f32).collect();
        Weights::Affine { weight, bias: vec![-0.05; outputs] }
    });
    let weights = weights.collect();
    Network::new(config, vec![0.0], vec![1.0], weights).expect("a network")
}
