//! Who should listen and does not, and what to type (design, section 7).

use super::*;
use crate::app::check::Severity;
use std::os::unix::fs::PermissionsExt;

struct Here {
    place: tempfile::TempDir,
    listeners: Vec<Listener>,
    config: Config,
}

impl Here {
    fn new() -> Self {
        Self { place: tempfile::tempdir().unwrap(), listeners: Vec::new(), config: Config::default() }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.place.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn listen(mut self, address: &str, owner: &str) -> Self {
        self.listeners
            .push(Listener { address: address.parse().unwrap(), owner: Some((owner.to_owned(), 7)) });
        self
    }

    fn judge(&self, from: From) -> Finding {
        let probes = Probes { root: true, ..Probes::system(None) };
        let machine = Machine { root: self.place.path().to_owned(), listeners: self.listeners.clone() };
        machine.judge(&self.config, &probes, from)
    }

    /// The problem has these words, its remedy those.
    fn finds(&self, words: &str, fix: &str) {
        let found = self.judge(From::Elsewhere);
        assert_eq!(found.severity, Severity::Problem, "{found:?}");
        assert!(found.what.contains(words), "{found:?}");
        assert!(found.fix.as_ref().unwrap().contains(fix), "{found:?}");
    }
}

const LOCAL: From = From::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));

#[test]
fn one_that_listens_is_reached() {
    for owner in ["pop3d", "systemd", "inetd"] {
        let here = Here::new().listen("[::]:110", owner);
        assert_eq!(here.judge(From::Elsewhere).severity, Severity::Ok);
    }
    let local = Here::new().listen("127.0.0.1:110", "pop3d");
    assert_eq!(local.judge(LOCAL).severity, Severity::Ok);
    local.finds("clients on this machine alone", "0.0.0.0:110");
    local.listen("192.0.2.1:995", "pop3d").judge(From::Elsewhere);
    Here::new().listen("0.0.0.0:110", "dovecot").finds("served by dovecot (pid 7)", "stop dovecot");
}

#[test]
fn nobody_listens_and_somebody_should() {
    let here = Here::new();
    here.finds("neither inetd nor systemd", "pop3d --listen 110");
    here.write("usr/lib/systemd/system/pop3d.socket", "");
    here.finds("installed and not started", "systemctl enable --now pop3d.socket");
    let mut listed = Here::new();
    listed.config.listen.pop3.push("110".parse().unwrap());
    listed.finds("has [listen]", "pop3d");
    let x = Here::new();
    x.write("etc/xinetd.d/pop3", "service pop3\n{\n  server = /usr/sbin/pop3d\n  disable = yes\n}\n");
    x.finds("says disable = yes", "write disable = no into");
    x.write("etc/xinetd.d/pop3", "service pop3\n{\n  server = /usr/sbin/pop3d\n}\n");
    x.finds("though there is", "restart xinetd");
}

/// README and contrib/inetd.conf show the line.
#[test]
fn a_line_of_inetd_is_read() {
    let here = Here::new();
    let program = here.write("pop3d", "");
    let shown = program.display();
    let line = |text: &str| here.write("etc/inetd.conf", text);
    line(&format!("# pop3\npop3 stream tcp wait root {shown} pop3d\n"));
    here.finds("one client blocks all others", "nowait");
    line(&format!("pop3 stream tcp nowait nobody {shown} pop3d\n"));
    here.finds("as nobody, who may not read shadow", "write root");
    line(&format!("0.0.0.0:pop3 stream tcp nowait.60 root /usr/sbin/tcpd {shown}\n"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    here.finds("cannot be executed", "chmod 755");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    here.finds("has a line for it", "restart inetd");
    fs::remove_file(&program).unwrap();
    here.finds("No such file", "correct the program in");
    let served = Here { listeners: Here::new().listen("[::]:110", "inetd").listeners, ..here };
    served.finds("No such file", "correct the program in");
}

#[test]
fn the_kernels_table_is_read() {
    let v4 =
        "   0: 0100007F:006E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1";
    assert_eq!(listening(v4), Some(("127.0.0.1:110".parse().unwrap(), "4711".to_owned())));
    let v6 = v4.replace("0100007F:", "00000000000000000000000001000000:");
    assert_eq!(listening(&v6).unwrap().0, "[::1]:110".parse().unwrap());
    assert_eq!(listening(&v4.replace(" 0A ", " 01 ")), None, "a connection");
    assert_eq!(listening("0: 0100007F"), None);
}
