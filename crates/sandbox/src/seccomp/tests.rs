//! Programs are run by the kernel's own interpreter.

use kernel::task::{Seccomp, Verdict};

use super::*;

fn verdict(profile: &Profile, nr: u64, args: [u64; 6]) -> Verdict {
    let program = instructions(&compile(profile).unwrap());
    Seccomp::filter(program, None, false, None)
        .unwrap()
        .decide(nr, &args, 0)
}

fn rule(names: &[&str], action: Action, conditions: &[Condition]) -> Rule {
    Rule {
        names: names.iter().map(|name| name.to_string()).collect(),
        action,
        conditions: conditions.to_vec(),
    }
}

fn on(argument: u32, test: Test) -> Condition {
    Condition { argument, test }
}

#[test]
fn every_call_has_the_fate_that_the_profile_gives_it() {
    let all: Vec<&str> = rows().map(|row| row.name).collect();
    // Every second call is allowed: as many ranges as there can be.
    let allowed: Vec<&str> = all.iter().step_by(2).copied().collect();
    let profile = Profile {
        default: Action::Errno(1),
        rules: vec![
            rule(&allowed, Action::Allow, &[]),
            rule(&["no_such_call"], Action::Allow, &[]),
        ],
    };
    let program = instructions(&compile(&profile).unwrap());
    let filter = Seccomp::filter(program, None, false, None).unwrap();
    let last = rows()
        .filter(|row| allowed.contains(&row.name))
        .map(|row| row.nr)
        .max()
        .unwrap();
    for row in rows() {
        let expected = if allowed.contains(&row.name) {
            Verdict::Allow
        } else if row.nr > last {
            Verdict::Errno(38)
        } else {
            Verdict::Errno(1)
        };
        assert_eq!(
            filter.decide(u64::from(row.nr), &[0; 6], 0),
            expected,
            "{}",
            row.name
        );
    }
    assert_eq!(filter.decide(9999, &[0; 6], 0), Verdict::Errno(38));
}

#[test]
fn comparisons_are_of_64_bits() {
    const BIG: u64 = 7 << 32 | 5;
    let cases: &[(Test, &[u64], &[u64])] = &[
        (Test::Equal(BIG), &[BIG], &[5, 7 << 32, BIG + 1]),
        (Test::NotEqual(BIG), &[5, 7 << 32, BIG + 1], &[BIG]),
        (
            Test::Less(BIG),
            &[0, BIG - 1, 6 << 32 | 9],
            &[BIG, BIG + 1, 8 << 32],
        ),
        (
            Test::LessOrEqual(BIG),
            &[0, BIG, 6 << 32 | 9],
            &[BIG + 1, 8 << 32],
        ),
        (Test::Greater(BIG), &[BIG + 1, 8 << 32], &[0, BIG, 6 << 32 | 9]),
        (
            Test::GreaterOrEqual(BIG),
            &[BIG, BIG + 1, 8 << 32],
            &[0, BIG - 1, 6 << 32 | 9],
        ),
        (
            Test::Masked(3 << 32 | 4, 1 << 32),
            &[1 << 32, 5 << 32 | 3],
            &[0, 1 << 32 | 4, 3 << 32],
        ),
    ];
    for (test, holds, fails) in cases {
        for argument in 0..6 {
            let profile = Profile {
                default: Action::Allow,
                rules: vec![rule(&["clone"], Action::Errno(1), &[on(argument, *test)])],
            };
            let ask = |value: &u64| {
                let mut args = [u64::MAX; 6];
                args[argument as usize] = *value;
                verdict(&profile, 56, args)
            };
            for value in *holds {
                assert_eq!(ask(value), Verdict::Errno(1), "{test:?} {value:#x}");
            }
            for value in *fails {
                assert_eq!(ask(value), Verdict::Allow, "{test:?} {value:#x}");
            }
        }
    }
}

#[test]
fn conditions_on_several_arguments_must_all_hold_and_on_one_are_alternatives() {
    let and = Profile {
        default: Action::Errno(1),
        rules: vec![rule(
            &["socket"],
            Action::Allow,
            &[on(0, Test::Equal(1)), on(1, Test::Equal(2))],
        )],
    };
    assert_eq!(verdict(&and, 41, [1, 2, 0, 0, 0, 0]), Verdict::Allow);
    assert_eq!(verdict(&and, 41, [1, 3, 0, 0, 0, 0]), Verdict::Errno(1));
    let or = Profile {
        default: Action::Errno(1),
        rules: vec![rule(
            &["socket"],
            Action::Allow,
            &[on(0, Test::Equal(1)), on(0, Test::Equal(2))],
        )],
    };
    assert_eq!(verdict(&or, 41, [2, 0, 0, 0, 0, 0]), Verdict::Allow);
    assert_eq!(verdict(&or, 41, [3, 0, 0, 0, 0, 0]), Verdict::Errno(1));
}

#[test]
fn a_rule_with_conditions_goes_before_one_without() {
    let profile = Profile {
        default: Action::KillProcess,
        rules: vec![
            rule(&["socket"], Action::Allow, &[]),
            rule(&["socket"], Action::Errno(97), &[on(0, Test::Equal(40))]),
        ],
    };
    assert_eq!(verdict(&profile, 41, [2, 0, 0, 0, 0, 0]), Verdict::Allow);
    assert_eq!(verdict(&profile, 41, [40, 0, 0, 0, 0, 0]), Verdict::Errno(97));
    assert_eq!(verdict(&profile, 0, [0; 6]), Verdict::KillProcess);
}

#[test]
fn calls_newer_than_the_profile_exist_only_where_the_default_allows() {
    let deny = |default| Profile {
        default,
        rules: vec![rule(&["read"], Action::Trap, &[])],
    };
    assert_eq!(verdict(&deny(Action::Errno(1)), 300, [0; 6]), Verdict::Errno(38));
    assert_eq!(verdict(&deny(Action::Allow), 300, [0; 6]), Verdict::Allow);
    assert_eq!(verdict(&deny(Action::Allow), 0, [0; 6]), Verdict::Trap(0));
}

#[test]
fn arguments_above_five_are_refused() {
    let profile = Profile {
        default: Action::Allow,
        rules: vec![rule(&["read"], Action::Log, &[on(6, Test::Equal(0))])],
    };
    assert_eq!(compile(&profile), Err(Error::Argument(6)));
}
