//! How long the sum of gradients takes over two or more ranks, beside the library's own sum, in turn.
//! `mpirun -n 2 target/release/examples/sum [MILLIONS [ROUNDS]]`, built with `--features mpi`.

use std::time::Instant;

use mpi::collective::SystemOperation;
use mpi::traits::CommunicatorCollectives;
use temper_train::group::Group;
use temper_train::group::mpi::World;

fn main() {
    let number = |place: usize| std::env::args().nth(place).map(|word| word.parse().expect("a number"));
    let (length, rounds) = (number(1).unwrap_or(70) * 1_000_000, number(2).unwrap_or(5));
    let world = World::join(|problem| eprintln!("{problem}")).expect("started by mpirun");
    let own: Vec<f32> = (0..length).map(|i| ((i * 7919 + world.rank()) % 1009) as f32 / 1e3 - 0.5).collect();
    let shards = world.size().next_power_of_two();
    for round in 0..rounds {
        let mut branches: Vec<Vec<f32>> = world.own_shards(shards).map(|_| own.clone()).collect();
        // A run of shards is one branch where their number is a power of two.
        branches.truncate(1);
        world.barrier().expect("all are there");
        let begun = Instant::now();
        world.sum_numbers(shards, length, &mut branches).expect("a sum");
        world.barrier().expect("all are there");
        let tree = begun.elapsed().as_secs_f64();
        // Written once, so that no page of it is new when the clock runs.
        let mut sum = vec![1.0f32; length];
        let begun = Instant::now();
        world.communicator().all_reduce_into(&own[..], &mut sum[..], SystemOperation::sum());
        world.barrier().expect("all are there");
        let library = begun.elapsed().as_secs_f64();
        let farthest = branches[0].iter().zip(&sum).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        if world.rank() == 0 {
            println!(
                "round {round}: tree {tree:.3} s, MPI_Allreduce {library:.3} s, {:.2}x; they differ by {farthest:e}",
                tree / library
            );
        }
    }
}
