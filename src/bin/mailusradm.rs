//! `mailusradm`: maildrops, sessions and their history.

fn main() -> std::process::ExitCode {
    poptools::mailusradm_main()
}
