//! Prints the networks that have names, with their size for images of CIFAR-10, and the layers of one of them.

use temper_base::Result;
use temper_graph::text::lines;
use temper_graph::{BatchNorm, NETWORKS, by_name};

fn main() -> Result<()> {
    for named in &NETWORKS {
        let network = by_name(named.name, None, BatchNorm::Full, [3, 32, 32], 10)?;
        println!("{:20} {:>10} parameters, {:>12} products", named.name, network.parameters(), network.macs());
    }
    let small = by_name("small", None, BatchNorm::Full, [3, 32, 32], 10)?;
    println!("\nsmall:");
    for (line, shape) in lines(&small).iter().zip(&small.shapes()?[1..]) {
        println!("  {line:32} {shape:?}");
    }
    Ok(())
}
