//! The command line (pop3d(8) and design, section 7).

use super::*;
use crate::config::Config;
use std::path::Path;
use std::time::Duration;

fn pop3d(args: &[&str]) -> Result<Options, Exit> {
    parse(std::iter::once("pop3d").chain(args.iter().copied()))
}

#[test]
fn clap_finds_no_fault_in_the_definition() {
    pop3d_command().debug_assert();
}

/// What is read without clap is read as clap does.
#[test]
fn a_plain_line_means_what_clap_makes_of_it() {
    for words in [&["pop3d"][..], &["pop3d", "--config", "/etc/x"], &["pop3d", "--config", "a b"]] {
        let by_clap: Options = read(words.iter().copied()).unwrap();
        assert_eq!(parse(words.iter().copied()).unwrap(), by_clap, "{words:?}");
    }
    for words in [&["pop3d", "--config"][..], &["pop3d", "--config", ""], &["pop3d", "--config", "--debug"]] {
        let by_clap: Result<Options, Exit> = read(words.iter().copied());
        let texts =
            (parse(words.iter().copied()).map_err(|exit| exit.text), by_clap.map_err(|exit| exit.text));
        assert_eq!(texts.0, texts.1, "{words:?}");
    }
}

#[test]
fn the_historic_options_are_read() {
    let options = pop3d(&["-d", "-s", "-t", "/tmp/trace", "-T", "30"]).unwrap();
    assert!(options.debug && options.statistics && !options.check);
    assert_eq!(options.trace.as_deref(), Some(Path::new("/tmp/trace")));
    assert_eq!(options.timeout, Some(30));
    assert_eq!(pop3d(&["-ds", "-T30"]).unwrap().timeout, Some(30), "getopt's joined forms");
}

#[test]
fn a_trace_file_turns_on_debugging() {
    assert!(pop3d(&["-t", "f"]).unwrap().debug, "pop3d(8), -t");
    assert!(!pop3d(&[]).unwrap().debug);
}

#[test]
fn wrong_lines_are_usage_errors_with_status_64() {
    for wrong in [&["-x"][..], &["-T", "0"], &["-T", "86401"], &["-T", "soon"], &["-t"], &["word"]] {
        let exit = pop3d(wrong).unwrap_err();
        assert_eq!((exit.status, exit.was_asked_for()), (64, false), "sysexits: EX_USAGE {wrong:?}");
        assert!(exit.text.starts_with("error: "), "{}", exit.text);
        assert!(!exit.text.contains('\x1b'), "no colour: the reader may be a client");
    }
    assert_eq!(pop3d(&["-T", "86400"]).unwrap().timeout, Some(86_400));
}

#[test]
fn help_and_version_are_text_with_status_0() {
    let help = pop3d(&["-h"]).unwrap_err();
    assert!(help.was_asked_for() && help.text.contains("--statistics"));
    let version = pop3d(&["-V"]).unwrap_err();
    assert_eq!(version.text, format!("pop3d {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_command_line_wins_over_the_file() {
    let mut config = Config::default();
    apply(&pop3d(&["-s", "-T", "30"]).unwrap(), &mut config);
    assert!(config.log.statistics);
    assert_eq!(config.limits.idle_timeout, Duration::from_secs(30));
    assert_eq!(config.limits.login_timeout, Duration::from_secs(30), "design, section 3");
    apply(&pop3d(&["-T", "900"]).unwrap(), &mut config);
    assert_eq!(config.limits.login_timeout, Duration::from_secs(30), "never longer");
}
