mod common;
use burn::tensor::Device;
use common::*;
use temper_bounds::attack::*;
use temper_bounds::boxes::Images;
#[test]
fn probe() {
    for name in NETS {
        let mut file = tensors(&format!("{name}/attack.safetensors"));
        let net = load(name);
        let labels = labels(&file["labels"]);
        let pixels = file.remove("pixels").unwrap();
        let indices: Vec<u64> = (0..64).collect();
        let images = Images { pixels: &pixels, shape: net.config.input, labels: &labels, indices: &indices };
        for eps in [0.02, 0.1] {
            let expected = &file[&format!("margin.{eps}")];
            let clean = &file["clean"];
            for (steps, restarts, step_size) in [(20, 1, Some(0.25)), (100, 5, Some(0.1)), (100, 5, Some(0.25)), (100, 5, Some(0.5)), (50,5,Some(1.0))] {
                for loss in [AttackLoss::Margin] {
                    let t = std::time::Instant::now();
                    let found = smallest_margins(&net, images, eps, &Attack { steps, restarts, loss, step_size, seed: 1 }, &Device::flex()).unwrap();
                    let mut rel: Vec<f32> = (0..64).map(|i| (found[i].margin - expected[i]) / (clean[i] - expected[i])).collect();
                    rel.sort_by(f32::total_cmp);
                    let fall = found.iter().filter(|f| f.margin <= 0.0).count();
                    let theirs = expected.iter().filter(|f| **f <= 0.0).count();
                    eprintln!("{name} {eps} {steps}x{restarts} {step_size:?} {loss:?}: fall {fall} vs {theirs}, rel min {:.4} median {:.4} top {:?} {:.1}s", rel[0], rel[32], &rel[58..], t.elapsed().as_secs_f64());
                }
            }
        }
    }
}
