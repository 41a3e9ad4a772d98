//! `pop3d`: the POP3 server.

fn main() -> std::process::ExitCode {
    poptools::pop3d_main()
}
