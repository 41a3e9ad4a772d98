//! `mailauth`: the secrets database.

fn main() -> std::process::ExitCode {
    poptools::mailauth_main()
}
