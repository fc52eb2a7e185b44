//! Every flag of `strata copy`, with every kind of destination and with `--fleet`: it changes what is requested, written or
//! printed, or the copy is refused with a message that names it. The flags are read from `strata copy --help`, which clap
//! generates from its definition; a flag without an entry in [`flags`] fails the test.

use std::{collections::BTreeSet, sync::Mutex, thread};

use super::{
    bench::Bench,
    copy_table::{KINDS, flags},
    table::{Flag, Host, listed},
};

impl Bench {
    /// Returns the problems of a flag, one per line.
    fn check(&mut self, flag: &Flag) -> Vec<String> {
        let mut problems = Vec::new();
        for kind in KINDS {
            let key = format!("{kind} {} {} {:?}", flag.source, flag.host as u8, flag.base);
            let baseline = self.baseline(key, |bench| bench.run(kind, flag.source, flag.host, &flag.base));
            let flags: Vec<&str> = flag.base.iter().chain(&flag.arguments).copied().collect();
            let outcome = self.run(kind, flag.source, flag.host, &flags);
            let is_vacuous = flag.vacuous.0.contains(&kind);
            problems.extend(flag.judge(kind, is_vacuous, &baseline, &outcome));
        }
        problems
    }
}

#[test]
fn every_flag_of_copy_has_an_entry() {
    let flags: BTreeSet<String> = flags().iter().map(|flag| flag.name.split('=').next().unwrap().to_owned()).collect();
    assert_eq!(flags, listed(&["copy"]));
}

#[test]
fn every_flag_of_copy_has_an_effect_or_is_refused() {
    let flags = Mutex::new(flags());
    let problems = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut bench = Bench::new();
                while let Some(flag) = { flags.lock().unwrap().pop() } {
                    let found = bench.check(&flag);
                    problems.lock().unwrap().extend(found);
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A copy that fails without the flag would make every error with the flag seem right.
#[test]
fn copies_without_the_flag_are_alike() {
    let mut bench = Bench::new();
    for kind in KINDS {
        let run = |bench: &mut Bench| bench.run(kind, "docker://in.example.com/app:1", Host::Open, &[]);
        let outcome = bench.baseline(kind.to_owned(), run);
        assert!(outcome.succeeded, "{kind}: {}", outcome.printed);
    }
}
