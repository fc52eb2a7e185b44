//! `strata`: the program is [`strata::main`].

use std::process::ExitCode;

fn main() -> ExitCode {
    strata::main()
}
