//! What the walls cost at a start: `walls N` prints N times how many nanoseconds a process takes from its clone to its end with the walls
//! and without, in turns. For `cargo xtask bench`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let rounds = std::env::args().nth(1).and_then(|number| number.parse().ok());
    for _ in 0..rounds.unwrap_or(20) {
        match (runtime::testing::walls(true), runtime::testing::walls(false)) {
            (Ok(with), Ok(without)) => println!("{with} {without}"),
            (Err(why), _) | (_, Err(why)) => {
                eprintln!("{why}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
