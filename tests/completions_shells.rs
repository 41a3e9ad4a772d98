//! Real shells on a terminal, and somebody who presses Tab. The transcripts are printed (`-- --nocapture`).

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod common;

use common::{programs_or_skip, run};
use std::fs;
use std::path::Path;
use std::process::Command;

/// argv: what to type, with `^I` for Tab, a line each, then `--` and the shell. Types each line after a prompt, and prints what the
/// terminal showed.
const TYPIST: &str = "\
import os, pty, sys, time
end = sys.argv.index('--')
lines, shell = sys.argv[1:end], sys.argv[end + 1:]
pid, fd = pty.fork()
if pid == 0:
    os.execvp(shell[0], shell)
seen, at = b'', 0
def more():
    global seen
    try:
        part = os.read(fd, 4096)
    except OSError:
        part = b''
    seen += part
    return bool(part)
for line in lines + ['exit']:
    while seen.find(b'ready> ', at) < 0:
        if not more():
            sys.exit('no prompt in ' + repr(seen))
    at = seen.find(b'ready> ', at) + 1
    os.write(fd, line.replace('^I', '\\t').encode() + b'\\r')
    if line != 'exit':
        while seen.find(b'given:', at) < 0:
            if not more():
                sys.exit('nothing was run in ' + repr(seen))
        at = seen.find(b'given:', at)
while more():
    pass
sys.stdout.buffer.write(seen)
sys.stdout.flush()
os.waitpid(pid, 0)
";

/// What is typed, and the words that the program is given then.
const TYPED: &[(&str, &[&str])] = &[
    ("mailauth unl^Ian^I", &["unlock", "ann"]),
    ("mailauth show vir^I", &["show", "virt@example.org"]),
    ("mailauth add --typ^IPO^Ibo^I", &["add", "--type", "POP", "bob"]),
    ("mailusradm li^Ibo^I", &["list", "bob"]),
    ("pop3d --dem^I", &["--demo"]),
];

/// The programs' names, each a script that tells what it was given; and users of this machine and of the database.
fn stage(directory: &Path) {
    let told = "echo \"given:\"; for word; do echo \"<$word>\"; done\n";
    let scripts = [
        ("pop3d", told.to_owned()),
        ("mailusradm", told.to_owned()),
        (
            "mailauth",
            format!(
                "[ \"$*\" != 'list --format tsv' ] || {{ printf 'virt@example.org\\tAPOP\\n'; exit; }}\n{told}"
            ),
        ),
        (
            "getent",
            "printf '%s\\n' root:x:0:0::/:/bin/sh ann:x:1000:1000::/:/bin/sh bob:x:1001:1001::/:/bin/sh\n"
                .to_owned(),
        ),
    ];
    for (name, script) in scripts {
        common::machine::write(&directory.join(name), format!("#!/bin/sh\n{script}").as_bytes(), 0o755);
    }
}

/// Types everything into a shell and compares what the programs were given.
fn press_tab(shell: &str, arguments: &[&str], files: &[(&str, &str)]) {
    if !programs_or_skip(&[shell, "python3"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    stage(directory.path());
    let completions = concat!(env!("CARGO_MANIFEST_DIR"), "/completions");
    for (name, text) in files {
        fs::write(directory.path().join(name), text.replace("COMPLETIONS", completions)).unwrap();
    }
    let here = directory.path().display().to_string();
    let mut command = Command::new("python3");
    command.args(["-c", TYPIST]).args(TYPED.iter().map(|(typed, _)| typed)).arg("--").arg(shell);
    command.args(arguments.iter().map(|word| word.replace("HERE", &here)));
    command.env("PATH", format!("{here}:{}", std::env::var("PATH").unwrap_or_default()));
    command.envs([("HOME", here.as_str()), ("ZDOTDIR", &here), ("TERM", "dumb"), ("LC_ALL", "C.UTF-8")]);
    command.env("XDG_CONFIG_HOME", &here).env("XDG_DATA_HOME", &here).current_dir(directory.path());
    let output = run(&mut command);
    let shown = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    println!("== {shell}\n{shown}");
    assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    let given: Vec<Vec<String>> = shown
        .split("given:")
        .skip(1)
        .map(|part| {
            let words = part.lines().filter_map(|line| line.trim().strip_prefix('<')?.strip_suffix('>'));
            // zsh writes a value behind `=`.
            words.flat_map(|word| word.split('=')).map(str::to_owned).collect()
        })
        .collect();
    let wanted: Vec<&[&str]> = TYPED.iter().map(|(_, words)| *words).collect();
    assert_eq!(given, wanted, "{shell}");
}

#[test]
fn bash_completes_verbs_options_values_and_users() {
    let setup = "PS1='ready> '; for p in pop3d mailauth mailusradm; do . COMPLETIONS/$p.bash; done\n";
    press_tab("bash", &["--noprofile", "--rcfile", "HERE/rc", "-i"], &[("rc", setup)]);
}

#[test]
fn zsh_completes_verbs_options_values_and_users() {
    let setup = "PS1='ready> '; fpath=(COMPLETIONS $fpath); autoload -U compinit; compinit -u -D\n";
    press_tab("zsh", &["-i"], &[(".zshrc", setup)]);
}

#[test]
fn fish_completes_verbs_options_values_and_users() {
    let setup = "function fish_prompt; echo -n 'ready> '; end\nset -U fish_greeting\nset -g fish_autosuggestion_enabled 0\n\
                 for p in pop3d mailauth mailusradm; source COMPLETIONS/$p.fish; end\n";
    press_tab("fish", &["--no-config", "-i", "-C", "source HERE/rc.fish"], &[("rc.fish", setup)]);
}
