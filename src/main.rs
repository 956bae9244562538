//! The program: reads the command line and chooses.

use std::process::ExitCode;

use weir::cli::{self, Command};
use weir::config::Environment;

fn main() -> ExitCode {
    let environment = Environment::read();
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.command {
        Some(Command::Serve(options)) => cli::run(&environment, cli::serve(options, environment.clone())),
        Some(Command::Demo(options)) => cli::run(&environment, cli::demo(options)),
        Some(Command::Explain(options)) => cli::run(&environment, cli::explain(options, environment.clone())),
        Some(Command::Migrate(options)) => cli::migrate(&options),
        Some(Command::Publish(options)) => cli::run(&environment, cli::publish(options, environment.clone())),
        Some(Command::Simulate(options)) => cli::run(&environment, cli::simulate(options)),
        None if environment.host.is_grafana() => cli::run_plugin(environment),
        None => cli::help(),
    }
}
