//! A short run of every fuzz target: its corpus, and mutations of it that are the same each time. The long runs: docs/fuzzing.md.
#![forbid(unsafe_code)]

#[path = "../../../fuzz/bodies/mod.rs"]
mod bodies;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Mutated inputs for each target.
const MUTATIONS: u64 = 400;
/// Longest input.
const MAX_LEN: usize = 4096;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % bound.max(1)
    }
}

/// The inputs that are kept for a target, in a fixed order.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn mutate(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = match corpus.get(random.below(corpus.len() + 1)) {
        Some(kept) => kept.clone(),
        None => (0..random.below(400)).map(|_| random.next() as u8).collect(),
    };
    for _ in 0..random.below(12) {
        let at = random.below(input.len() + 1);
        match random.below(4) {
            0 => input.insert(at, random.next() as u8),
            1 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 if at < input.len() => input[at] ^= 1 << random.below(8),
            3 => {
                let tail = input.split_off(at);
                input.extend(tail.iter().skip(random.below(8)));
            }
            _ => {}
        }
    }
    input.truncate(MAX_LEN);
    input
}

/// `TEGMEN_FUZZ=target:seconds` runs one target for that long, with other mutations each time (unguided; where cargo-fuzz is
/// not at hand). Prints how many inputs it ran.
#[test]
fn a_longer_run_on_request() {
    let Ok(wish) = std::env::var("TEGMEN_FUZZ") else {
        return;
    };
    let (wanted, seconds) = wish.split_once(':').unwrap();
    let (_, run) = bodies::TARGETS
        .iter()
        .find(|(target, _)| *target == wanted)
        .unwrap();
    let start = Instant::now();
    let limit = Duration::from_secs(seconds.parse().unwrap());
    let seed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64
        | 1;
    let (mut random, mut corpus, mut runs) = (Random(seed), corpus(wanted), 0_u64);
    while start.elapsed() < limit {
        let input = mutate(&mut random, &corpus);
        let outcome = std::panic::catch_unwind(|| run(&input));
        assert!(outcome.is_ok(), "{wanted}, seed {seed}, run {runs}: {input:?}");
        // Mutations of mutations reach further.
        if runs.is_multiple_of(64) {
            corpus.push(input);
            if corpus.len() > 512 {
                corpus.swap_remove(random.below(512));
            }
        }
        runs += 1;
    }
    eprintln!("{wanted}: {runs} runs in {:.0?}, seed {seed}", start.elapsed());
}

#[test]
fn targets_survive_their_corpus_and_mutations_of_it() {
    for (target, run) in bodies::TARGETS {
        let corpus = corpus(target);
        for input in &corpus {
            run(input);
        }
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for round in 0..MUTATIONS {
            let input = mutate(&mut random, &corpus);
            let outcome = std::panic::catch_unwind(|| run(&input));
            assert!(outcome.is_ok(), "{target}, round {round}: {input:?}");
        }
    }
}
