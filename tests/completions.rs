//! The committed completions are those of the option definitions, and of users' names besides. `BLESS=1 cargo test --test
//! completions` writes them anew. Real shells press Tab in `tests/completions_shells.rs`.

#![allow(clippy::unwrap_used)]

use clap::Command;
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
            let text = with_users(shell, &command, program, &String::from_utf8(text).unwrap());
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions").join(&name);
            if std::env::var_os("BLESS").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            let committed = std::fs::read_to_string(&path).unwrap();
            assert!(committed == text, "{name} is old; BLESS=1 cargo test --test completions writes it anew");
        }
    }
}

/// Users of the system that can have mail, and those of the secrets database where the caller may read it.
const USERS: &str = "{ getent passwd | awk -F: '$3 >= 1000 && $3 < 65000 { print $1 }'
        mailauth list --format tsv 2>/dev/null | cut -f 1; } | sort -u";

/// The verbs that take users.
fn verbs(command: &Command) -> Vec<&str> {
    let takes_users = |verb: &&Command| {
        verb.get_positionals().any(|argument| ["user", "users"].contains(&argument.get_id().as_str()))
    };
    command.get_subcommands().filter(takes_users).map(Command::get_name).collect()
}

/// The options of verbs whose value is the next word.
fn options_with_values(command: &Command) -> String {
    let all = command.get_subcommands().chain([command]).flat_map(Command::get_arguments);
    let mut names: Vec<String> = all
        .filter(|argument| argument.get_action().takes_values())
        .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join("|")
}

/// What clap's generator leaves to file names is completed with users' names.
fn with_users(shell: Shell, command: &Command, program: &str, text: &str) -> String {
    let verbs = verbs(command);
    if verbs.is_empty() {
        return text.to_owned();
    }
    match shell {
        Shell::Bash => format!(
            "{text}
# Names of users, for the verbs that take them.
_{program}_or_users() {{
    local word verb=
    for word in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do
        [[ $word == -* ]] || {{ verb=$word; break; }}
    done
    _{program} \"$@\"
    case \"$2,$3,$verb\" in
        -*,*,* | *,{options},*) ;;
        *,*,{verbs}) COMPREPLY=($(compgen -W \"$({USERS})\" -- \"$2\")) ;;
    esac
}}
complete -F _{program}_or_users -o bashdefault -o default {program}
",
            options = options_with_values(command).replace('|', ",* | *,"),
            verbs = verbs.join(" | *,*,"),
        ),
        Shell::Zsh => {
            let users = format!(":_{program}_users'");
            let lines = text.lines().map(|line| {
                let positional = line.trim_start_matches(['\'', '*', ':', '1']);
                match positional.starts_with("user -- ") || positional.starts_with("users -- ") {
                    true => line.replace(":_default'", &users) + "\n",
                    false => line.to_owned() + "\n",
                }
            });
            let text: String = lines.collect();
            let function = format!(
                "(( $+functions[_{program}_users] )) ||
_{program}_users() {{
    local expl
    local -a users
    users=(${{(f)\"$({USERS})\"}})
    _wanted users expl user compadd -a users
}}

if [ \"$funcstack[1]\""
            );
            text.replace("if [ \"$funcstack[1]\"", &function)
        }
        _ => format!(
            "{text}
# Names of users, for the verbs that take them.
function __fish_{program}_users
    sh -c \"{script}\"
end
complete -c {program} -n \"__fish_{program}_using_subcommand {verbs}\" -f -a \"(__fish_{program}_users)\"
",
            script = USERS.replace('$', "\\$"),
            verbs = verbs.join(" "),
        ),
    }
}
