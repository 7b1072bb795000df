//! A batch decided without a network: who is attacked, what is kept, where it stops.

use std::cell::RefCell;

use temper_base::{Problem, Result};
use temper_verify::{
    Arithmetic, AttackCertified, Attacked, Counterexample, Decided, Engine, ImageVerdict, Stage, Verdict, decide,
};

/// What a network would answer: of every image its clean margin, its bound, and the smallest margin that an attack sees.
struct Answers {
    images: Vec<(f32, f32, f32)>,
    labels: Vec<u32>,
    indices: Vec<u64>,
    arithmetic: Arithmetic,
    /// What is found speaks against a sound bound.
    refutes: bool,
    /// The call that is interrupted.
    interrupted: Option<&'static str>,
    /// The call that fails.
    fails: Option<&'static str>,
    /// The places that were attacked.
    attacked: RefCell<Vec<usize>>,
}

const LABEL: u32 = 3;

fn attacked(clean_margin: f32, margin: f32) -> Attacked {
    let class = |margin: f32| if margin > 0.0 { LABEL } else { 5 };
    Attacked { clean_margin, clean_class: class(clean_margin), margin, class: class(margin) }
}

impl Answers {
    /// The images are numbered from 70 on.
    fn new(images: &[(f32, f32, f32)]) -> Self {
        let indices = (70..).take(images.len()).collect();
        let (labels, attacked) = (vec![LABEL; images.len()], RefCell::default());
        let images = images.to_vec();
        Self {
            images,
            labels,
            indices,
            arithmetic: Arithmetic::Real,
            refutes: false,
            interrupted: None,
            fails: None,
            attacked,
        }
    }

    fn answer<T>(&self, call: &'static str, value: T) -> Result<Option<T>> {
        if self.fails == Some(call) {
            return Err(Problem::input("ask", call, "it cannot be answered"));
        }
        Ok((self.interrupted != Some(call)).then_some(value))
    }

    fn decide(&self, rule: AttackCertified) -> Result<Option<Decided>> {
        decide(self, &|i, clean, bound| rule.attacks(clean, bound, 1, self.indices[i]))
    }
}

impl Engine for Answers {
    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn indices(&self) -> &[u64] {
        &self.indices
    }

    fn bounds(&self) -> Result<Option<Vec<Option<f64>>>> {
        self.answer("bounds", self.images.iter().map(|(_, bound, _)| Some(f64::from(*bound))).collect())
    }

    fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    fn refutes(&self, _: usize, _: Option<&[f32]>) -> bool {
        self.refutes
    }

    fn clean(&self) -> Result<Option<Vec<Attacked>>> {
        self.answer("clean", self.images.iter().map(|(clean, ..)| attacked(*clean, *clean)).collect())
    }

    /// The pixels are twice the place.
    fn attack(&self, places: &[usize]) -> Result<Option<(Vec<Attacked>, Vec<f32>)>> {
        self.attacked.replace(places.to_vec());
        let found = places.iter().map(|&i| attacked(self.images[i].0, self.images[i].2)).collect();
        self.answer("attack", (found, places.iter().flat_map(|&i| [i as f32, i as f32]).collect()))
    }
}

/// Misclassified, certified, unknown, attacked, NaN, attacked.
const BATCH: [(f32, f32, f32); 6] =
    [(-1.0, -2.0, -1.5), (2.0, 1.0, 1.5), (1.0, -1.0, 0.5), (1.0, -1.0, -0.5), (1.0, f32::NAN, 0.5), (0.5, 0.0, -0.25)];

#[test]
fn every_image_has_its_verdict_and_every_attacked_one_its_counterexample() {
    use Verdict::*;
    for (rule, asked) in
        [(AttackCertified::None, vec![2, 3, 5]), (AttackCertified::All, (0..BATCH.len()).collect::<Vec<usize>>())]
    {
        let answers = Answers::new(&BATCH);
        let Decided { verdicts, counterexamples, .. } = answers.decide(rule).unwrap().unwrap();
        assert_eq!(*answers.attacked.borrow(), asked, "{rule:?}");
        let of = |verdict: &ImageVerdict| (verdict.index, verdict.label, verdict.verdict);
        let expected = [Misclassified, Certified, Unknown, Attacked, Error, Attacked];
        let expected: Vec<_> = (70..).zip(expected).map(|(index, verdict)| (index, LABEL, verdict)).collect();
        assert_eq!(verdicts.iter().map(of).collect::<Vec<_>>(), expected, "{rule:?}");
        for (place, verdict) in verdicts.iter().enumerate() {
            let margin = asked.contains(&place).then_some(BATCH[place].2);
            assert_eq!(verdict.attack_margin, margin, "{rule:?}: {verdict:?}");
        }
        // Not of the misclassified image, which needs none.
        let kept = [3, 5].map(|place| Counterexample { index: 70 + place as u64, pixels: vec![place as f32; 2] });
        assert_eq!(counterexamples, kept, "{rule:?}");
    }
}

#[test]
fn one_certified_image_in_ten_is_attacked() {
    let answers = Answers::new(&[(2.0, 1.0, 1.5); 1000]);
    answers.decide(AttackCertified::Tenth).unwrap().unwrap();
    let first = answers.attacked.borrow().clone();
    assert!((70..130).contains(&first.len()), "{}", first.len());
    // By the image's number, not by its place in a batch.
    let mut later = Answers::new(&[(2.0, 1.0, 1.5); 999]);
    later.indices = (71..1070).collect();
    later.decide(AttackCertified::Tenth).unwrap().unwrap();
    let moved: Vec<usize> = first.iter().filter(|place| **place > 0).map(|place| place - 1).collect();
    assert_eq!(*later.attacked.borrow(), moved);
    // Which ones is part of what a seed stands for.
    assert_eq!(first[..5], [0, 6, 11, 15, 25]);
    let none = Answers::new(&[(2.0, 1.0, 1.5); 1000]);
    none.decide(AttackCertified::None).unwrap().unwrap();
    assert!(none.attacked.borrow().is_empty());
}

#[test]
fn an_attack_against_a_certificate_is_an_error() {
    let answers = Answers::new(&[(2.0, 1.0, -0.5), (2.0, 9e-6, -9e-6)]);
    let Decided { verdicts, counterexamples, .. } = answers.decide(AttackCertified::All).unwrap().unwrap();
    assert_eq!(verdicts[0].verdict, Verdict::Error);
    assert!(verdicts[0].reason.as_ref().unwrap().contains("image 70 is certified"), "{verdicts:?}");
    // Both within rounding: what the attack found counts.
    assert_eq!((verdicts[1].verdict, verdicts[1].rounding), (Verdict::Attacked, true));
    assert_eq!(counterexamples.iter().map(|kept| kept.index).collect::<Vec<_>>(), [71]);
}

/// A certificate that is sound holds for the network over the real numbers: what only single precision finds does not break it.
#[test]
fn a_sound_certificate_stands_unless_it_is_refuted() {
    let contradictions = [(2.0, 0.5, -0.25), (-0.125, 0.5, 1.0), (2.0, 0.5, 0.75)];
    for (refutes, expected) in [
        (false, [Verdict::Certified, Verdict::Misclassified, Verdict::Certified]),
        (true, [Verdict::Error, Verdict::Error, Verdict::Certified]),
    ] {
        let answers = Answers { arithmetic: Arithmetic::Sound, refutes, ..Answers::new(&contradictions) };
        let Decided { verdicts, counterexamples, .. } = answers.decide(AttackCertified::All).unwrap().unwrap();
        assert_eq!(verdicts.iter().map(|verdict| verdict.verdict).collect::<Vec<_>>(), expected);
        assert_eq!(verdicts.iter().map(|verdict| verdict.rounding).collect::<Vec<_>>(), [!refutes, !refutes, false]);
        let certified = &verdicts[2];
        assert_eq!((certified.stage, certified.arithmetic), (Some(Stage::Ibp), Some(Arithmetic::Sound)));
        assert!(counterexamples.is_empty());
    }
}

#[test]
fn an_interrupted_batch_has_no_verdict_and_a_failed_one_an_error() {
    for call in ["bounds", "clean", "attack"] {
        let interrupted = Answers { interrupted: Some(call), ..Answers::new(&BATCH) };
        assert_eq!(interrupted.decide(AttackCertified::None).unwrap(), None, "{call}");
        let failed = Answers { fails: Some(call), ..Answers::new(&BATCH) };
        let problem = failed.decide(AttackCertified::None).unwrap_err();
        assert!(problem.to_string().contains(call), "{problem}");
    }
    // Whom nobody attacks, no attack interrupts.
    let certified = Answers { interrupted: Some("attack"), ..Answers::new(&BATCH[1..2]) };
    assert!(certified.decide(AttackCertified::None).unwrap().is_some());
    assert_eq!(Answers::new(&[]).decide(AttackCertified::All).unwrap(), Some(Decided::default()));
}
