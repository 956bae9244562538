//! The program: reads the command line and chooses.

use std::process::ExitCode;

use clap::Parser as _;
use weir::cli::{self, Cli, Command};
use weir::config::Environment;

fn main() -> ExitCode {
    let environment = Environment::read();
    match Cli::parse().command {
        Some(Command::Serve(options)) => cli::run(&environment, cli::serve(options, environment.clone())),
        Some(Command::Demo(options)) => cli::run(&environment, cli::demo(options)),
        Some(Command::Explain(options)) => cli::run(&environment, cli::explain(options, environment.clone())),
        None if environment.host.is_grafana() => cli::run_plugin(environment),
        None => cli::help(),
    }
}
