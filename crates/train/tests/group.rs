//! Ranks as threads: the same sum on any number of them, and an end for all when one of them ends.

use burn::tensor::{Device, Tensor, TensorData};
use temper_base::Problem;
use temper_model::parameter::Visitor;
use temper_model::{Parameter, Parameters};
use temper_train::gradients::Gradients;
use temper_train::group::{Alone, Group, agree, threads};
use temper_train::plan::Share;
use temper_train::shards::{OwnShards, cut, gradients_at_once};

/// Some parameters, of which `idle` never has a gradient.
#[derive(Clone)]
struct Model {
    vector: Tensor<1>,
    idle: Tensor<1>,
    matrix: Tensor<2>,
}

impl Parameters for Model {
    fn visit(&mut self, f: &mut Visitor) {
        f("vector", Parameter::Vector(&mut self.vector));
        f("idle", Parameter::Vector(&mut self.idle));
        f("matrix", Parameter::Matrix(&mut self.matrix));
    }
}

impl Model {
    fn new(length: usize) -> Self {
        let ones = |shape: &[usize]| TensorData::new(vec![1.0f32; shape.iter().product()], shape.to_vec());
        let device = Device::flex();
        let vector = |n: usize| Tensor::from_data(ones(&[n]), &device);
        Self { vector: vector(length), idle: vector(3), matrix: Tensor::from_data(ones(&[5, 7]), &device) }
    }

    /// The gradients of a shard: numbers of any size and sign, so that every order of a sum has bits of its own.
    fn gradients(&self, shard: usize) -> Gradients {
        let slopes = |n: usize, salt: usize| -> Vec<f32> {
            let draw = |i: usize| ((i + 1) * (shard + 3) * 2_654_435_761 + salt) % 1_000_003;
            (0..n).map(|i| (draw(i) as f32 - 5e5) * 10f32.powi((draw(i + 7) % 9) as i32 - 8)).collect()
        };
        let device = Device::flex();
        let mut leaves = self.leaves();
        let vector = Tensor::<1>::from_data(slopes(self.vector.dims()[0], 1).as_slice(), &device);
        let matrix = Tensor::<2>::from_data(TensorData::new(slopes(35, 2), [5, 7]), &device);
        let loss =
            (leaves.vector.clone() * vector.autodiff()).sum() + (leaves.matrix.clone() * matrix.autodiff()).sum();
        let mut gradients = Gradients::none(self);
        gradients.collect(&mut leaves, &mut loss.backward());
        gradients
    }

    /// The sum over a batch of so many shards, as a rank of `group` has it.
    fn sum(&self, shards: usize, group: &dyn Group) -> temper_base::Result<Vec<(String, Vec<u32>)>> {
        let mut own = OwnShards::none(self, shards, group);
        group.own_shards(shards).for_each(|shard| own.push(self.gradients(shard)));
        let bits = |(name, values): (String, Vec<f32>)| (name, values.into_iter().map(f32::to_bits).collect());
        Ok(group.sum(own)?.with_names(self).into_iter().map(bits).collect())
    }
}

#[test]
fn the_sum_is_the_same_on_any_number_of_ranks() {
    // Of one number and a matrix, and of so few that some ranks have no range of them.
    for length in [1, 1000] {
        let alone = |shards| Model::new(length).sum(shards, &Alone).unwrap();
        for shards in [1, 2, 4, 8, 16] {
            for ranks in [1, 2, 3, 4, 5, 6, 7, 8, 12, 50] {
                let sums = threads::run(ranks, |rank| Model::new(length).sum(shards, rank)).unwrap();
                assert_eq!(sums.len(), ranks);
                for sum in sums {
                    assert_eq!(sum, alone(shards), "{shards} shards on {ranks} ranks");
                }
            }
        }
        assert_eq!(alone(2).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["vector", "matrix"]);
        // In the order of the shards it is another sum: the comparison above would notice.
        let model = Model::new(1000);
        let plain = (1..8).fold(model.gradients(0), |sum, shard| sum + model.gradients(shard));
        let plain: Vec<u32> = plain.with_names(&model).remove(0).1.into_iter().map(f32::to_bits).collect();
        assert_ne!(plain, model.sum(8, &Alone).unwrap()[0].1);
    }
}

/// So many numbers that ranks give each other their ranges in pieces.
#[test]
fn a_long_sum_goes_in_pieces() {
    for (ranks, shards) in [(2, 2), (3, 4)] {
        let model = || Model::new(1_700_003);
        let alone = model().sum(shards, &Alone).unwrap();
        let sums = threads::run(ranks, |rank| model().sum(shards, rank)).unwrap();
        assert!(sums.iter().all(|sum| *sum == alone), "{shards} shards on {ranks} ranks");
    }
}

#[test]
fn parts_are_neighbours_and_even() {
    for all in 0..40 {
        for parts in 1..12 {
            let cuts: Vec<_> = (0..parts).map(|part| cut(all, parts, part)).collect();
            assert_eq!(cuts.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..all).collect::<Vec<_>>());
            assert!(cuts.iter().all(|cut| [all / parts, all.div_ceil(parts)].contains(&cut.len())));
        }
    }
    assert_eq!([1, 2, 4, 16].map(gradients_at_once), [1, 2, 3, 5]);
}

#[test]
fn what_ranks_tell_each_other() {
    for ranks in [1, 2, 3, 6] {
        let told = threads::run(ranks, |group| {
            let rank = group.rank();
            group.barrier()?;
            let words = group.gather(format!("rank {rank}").as_bytes())?;
            let word = group.broadcast(format!("from {rank}").as_bytes())?;
            let numbers: Vec<f64> = group.own_shards(4).map(|shard| shard as f64 + 0.1).collect();
            let all = group.gather_numbers(Some(&numbers))?;
            // The last rank gives up its part.
            let refused = group.gather_numbers(Some(&[][..]).filter(|_| rank + 1 < ranks))?;
            Ok((words, word, all, refused))
        });
        for (words, word, all, refused) in told.unwrap() {
            assert_eq!(words, (0..ranks).map(|rank| format!("rank {rank}").into_bytes()).collect::<Vec<_>>());
            assert_eq!(word, b"from 0");
            assert_eq!((all, refused), (Some(vec![0.1, 1.1, 2.1, 3.1]), None));
        }
    }
}

/// Who waits for a rank that has failed, or for one that waits for it, is told which one it was and why.
#[test]
fn one_that_fails_ends_all() {
    let failed = Problem::input("read tokens", "old.tokens", "it is cut");
    let told = std::sync::Mutex::new(Vec::new());
    let problem = threads::run(4, |group| {
        group.barrier()?;
        if group.rank() == 2 {
            return Err(failed.clone());
        }
        let end = Model::new(9).sum(4, group);
        told.lock().unwrap().push(end.as_ref().unwrap_err().to_string());
        end
    });
    assert_eq!(problem.unwrap_err(), failed);
    let told = told.into_inner().unwrap();
    assert_eq!(told, vec!["exchange with other ranks: rank 2: read tokens: old.tokens: it is cut"; 3]);

    // One that ends before its time.
    let end = threads::run(3, |group| if group.rank() == 1 { Ok(()) } else { group.barrier() });
    assert_eq!(end.unwrap_err().to_string(), "exchange with other ranks: rank 1: it has ended");
    // One that trains something else.
    let end = threads::run(2, |group| Model::new(9 + 4 * group.rank()).sum(2, group));
    let problem = end.unwrap_err();
    assert_eq!(problem.code(), "input/exchange-with-other-ranks");
    assert!(problem.why.contains("numbers instead of") && problem.hint.unwrap().contains("the same recipe"));
}

#[test]
#[should_panic(expected = "out of its mind")]
fn a_panic_ends_all() {
    _ = threads::run(3, |group| {
        assert_ne!(group.rank(), 1, "out of its mind");
        group.barrier()
    });
}

/// A step that one rank fails in fails on all, with the problem of the first of them, and the ranks go on together.
#[test]
fn what_one_fails_with_all_fail_with() {
    let told = threads::run(4, |group| {
        let rank = group.rank();
        let fails = |rank: usize| Problem::training("evaluate", format!("image {rank}"), "NaN").hint("look at it");
        let own = if rank == 1 || rank == 2 { Err(fails(rank)) } else { Ok(rank) };
        let failed = agree(&**group, own).unwrap_err();
        Ok((failed, agree(&**group, Ok(rank))?))
    });
    for (rank, (failed, passed)) in told.unwrap().into_iter().enumerate() {
        assert_eq!((failed.code().as_str(), failed.hint.as_deref()), ("training/evaluate", Some("look at it")));
        let place = if rank == 1 { "image 1" } else { "image 1 (rank 1)" };
        assert_eq!((failed.place.as_str(), failed.why.as_str(), passed), (place, "NaN", rank));
    }
    let alone = Problem::input("read", "x", "y");
    assert_eq!(agree::<()>(&Alone, Err(alone.clone())), Err(alone));
}

/// Counts what a rank gives to others.
struct Counting<'a>(&'a dyn Group, std::cell::Cell<u64>);

impl Group for Counting<'_> {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn exchange(&self, other: usize, given: &[f32], received: &mut [f32]) -> temper_base::Result<()> {
        self.1.update(|sent| sent + 4 * given.len() as u64);
        self.0.exchange(other, given, received)
    }

    fn gather(&self, own: &[u8]) -> temper_base::Result<Vec<Vec<u8>>> {
        self.0.gather(own)
    }

    fn abort(&self, problem: &Problem) {
        self.0.abort(problem);
    }
}

/// A plan says how many bytes ranks send, to the byte.
#[test]
fn what_is_sent_is_what_is_planned() {
    for (shards, ranks) in [(2, 2), (4, 2), (4, 3), (8, 4), (8, 5), (16, 7), (8, 8)] {
        let length = 1003;
        let sent = threads::run(ranks, |group| {
            let counting = Counting(&**group, std::cell::Cell::new(0));
            let mut branches: Vec<Vec<f32>> = Vec::new();
            let mut tree = temper_train::shards::Tree::from(group.own_shards(shards).start);
            group.own_shards(shards).for_each(|_| tree.push(0.0f32));
            branches.resize(tree.branches().count(), vec![1.0; length]);
            counting.sum_numbers(shards, length, &mut branches)?;
            Ok((counting.1.get(), branches.swap_remove(0)))
        });
        let sent = sent.unwrap();
        let planned = Share::of(length as u64, shards, ranks);
        assert_eq!(sent.iter().map(|(sent, _)| *sent).max(), Some(planned.sent), "{ranks} ranks, {shards} shards");
        let least = 8.0 * length as f64 * (ranks - 1) as f64 / ranks as f64;
        // Where ranks have equal parts, no algorithm sends less.
        assert!(!ranks.is_power_of_two() || (planned.sent as f64) < least + 4.0 * ranks as f64);
        assert_eq!(planned.seconds(8.0), planned.sent as f64);
    }
}
