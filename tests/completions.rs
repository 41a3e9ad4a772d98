//! The committed completions are those of the option definitions. `BLESS=1 cargo test --test completions`
//! writes them anew.

use clap_complete::{Shell, generate};
use std::path::Path;

#[test]
fn completions_are_those_of_the_definitions() {
    for (mut command, program) in [
        (poptools::pop3d_command(), "pop3d"),
        (poptools::mailauth_command(), "mailauth"),
        (poptools::mailusradm_command(), "mailusradm"),
    ] {
        for (shell, name) in [
            (Shell::Bash, format!("{program}.bash")),
            (Shell::Zsh, format!("_{program}")),
            (Shell::Fish, format!("{program}.fish")),
        ] {
            let mut text = Vec::new();
            generate(shell, &mut command, program, &mut text);
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions").join(&name);
            if std::env::var_os("BLESS").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            let committed = std::fs::read(&path).unwrap();
            assert!(committed == text, "{name} is old; BLESS=1 cargo test --test completions writes it anew");
        }
    }
}
