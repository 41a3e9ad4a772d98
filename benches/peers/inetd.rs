//! A stand-in for inetd: one process for each connection, and nothing else.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

pub(crate) fn serve(port: u16, words: &[String]) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut children = Vec::new();
    while let Ok((client, _)) = listener.accept() {
        let client = OwnedFd::from(client);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdout(Stdio::from(client.try_clone().unwrap()));
        command.stderr(Stdio::from(client.try_clone().unwrap())).stdin(Stdio::from(client));
        children.push(command.spawn().unwrap());
        children.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
    }
}
