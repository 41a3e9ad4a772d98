//! Whether clients reach the server: who listens, and what inetd, xinetd or systemd know of it. Nothing is connected to.

use super::{Finding, Probes, quoted};
use crate::config::{Config, defaults};
use crate::error::Error;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The port of POP3 (RFC 1939, section 3).
const POP3_PORT: u16 = 110;

/// Programs that listen on behalf of others.
const SUPERSERVERS: [&str; 4] = ["inetd", "xinetd", "systemd", "init"];

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// Somewhere, but not on this machine.
    Elsewhere,
    /// At this address.
    Address(IpAddr),
}

impl From {
    /// Whether nobody but this machine can listen in.
    pub(crate) fn is_local(self) -> bool {
        matches!(self, Self::Address(address) if address.to_canonical().is_loopback())
    }
}

/// A socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listener {
    address: SocketAddr,
    /// Name and number of the process; none where we may not see it.
    owner: Option<(String, u32)>,
}

impl Listener {
    fn is_pop3d(&self) -> bool {
        self.owner.as_ref().is_some_and(|(name, _)| name.contains("pop3d"))
    }
}

/// What a machine has; tests have others.
struct Machine {
    /// Its root directory, for the files of the super servers.
    root: PathBuf,
    listeners: Vec<Listener>,
}

/// Whether a client there reaches a server.
pub(super) fn finding(config: &Config, probes: &Probes<'_>, from: From) -> Finding {
    Machine::this(&ports(config)).judge(config, probes, from)
}

/// The ports that clients use.
fn ports(config: &Config) -> Vec<u16> {
    let listen = config.listen.pop3.iter().chain(&config.listen.pop3s);
    let mut ports: Vec<u16> = listen.map(|address| address.0.port()).collect();
    // What inetd or systemd listen on the configuration does not say.
    if ports.is_empty() {
        ports.extend([POP3_PORT, defaults::POP3S_PORT]);
    }
    ports
}

impl Machine {
    fn this(ports: &[u16]) -> Self {
        let tables =
            ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
        let all: Vec<_> =
            tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(listening).collect();
        let (usual, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(address, _)| ports.contains(&address.port()));
        let named = |(address, inode): (SocketAddr, String)| Listener { address, owner: owner(&inode) };
        let mut listeners: Vec<Listener> = usual.into_iter().map(named).collect();
        if listeners.is_empty() {
            // A server that was told on the command line where to listen.
            listeners.extend(others.into_iter().map(named).filter(Listener::is_pop3d));
        }
        Self { root: PathBuf::from("/"), listeners }
    }

    fn judge(&self, config: &Config, probes: &Probes<'_>, from: From) -> Finding {
        if self.listeners.is_empty() {
            return self.nobody(config, probes);
        }
        let reached = |listener: &&Listener| {
            let ip = listener.address.ip().to_canonical();
            from.is_local() || !ip.is_loopback()
        };
        let reachable: Vec<&Listener> = self.listeners.iter().filter(reached).collect();
        let ours = |listener: &&&Listener| {
            listener.owner.as_ref().is_none_or(|(name, _)| {
                name.contains("pop3d") || SUPERSERVERS.iter().any(|server| name.contains(server))
            })
        };
        match (reachable.iter().find(ours), reachable.first()) {
            (Some(listener), _) => {
                let by = match &listener.owner {
                    Some((name, pid)) => format!(" by {name} (pid {pid})"),
                    None => String::new(),
                };
                let inetd = listener.owner.as_ref().is_some_and(|(name, _)| name.contains("inetd"));
                let line = inetd.then(|| self.inetd_line().and_then(|line| line.fault(&self.inetd())));
                line.flatten()
                    .unwrap_or_else(|| Finding::ok(format!("service: {} is served{by}", listener.address)))
            }
            (None, Some(Listener { address, owner })) => {
                let (name, pid) = owner.clone().unwrap_or_default();
                Finding::problem(
                    format!("service: {address} is served by {name} (pid {pid}), not by pop3d"),
                    format!("stop {name}, or let pop3d listen on another port"),
                )
            }
            (None, None) => {
                let places: Vec<String> =
                    self.listeners.iter().map(|listener| listener.address.to_string()).collect();
                Finding::problem(
                    format!(
                        "service: clients on this machine alone reach {}, which is all that is listened on",
                        places.join(" and ")
                    ),
                    format!(
                        "listen on 0.0.0.0:110 or on [::]:110, under [listen] in {}",
                        probes.file().display()
                    ),
                )
            }
        }
    }

    /// Nobody listens: who should?
    fn nobody(&self, config: &Config, probes: &Probes<'_>) -> Finding {
        let ports: Vec<String> = ports(config).iter().map(u16::to_string).collect();
        let nobody = format!("service: nothing listens on port {}", ports.join(" or "));
        if let Some(line) = self.inetd_line() {
            return line.fault(&self.inetd()).unwrap_or_else(|| {
                let what = format!("{nobody}, though {} has a line for it", self.inetd().display());
                Finding::problem(what, "systemctl restart inetd, or start inetd in this system's way")
            });
        }
        if let Some(file) = self.xinetd() {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let disabled = text.lines().any(|line| {
                let line: String = line.split_whitespace().collect();
                line == "disable=yes"
            });
            let shown = quoted(&file);
            return match disabled {
                true => Finding::problem(
                    format!("{nobody}: {shown} says disable = yes"),
                    format!("write disable = no into {shown}, then systemctl restart xinetd"),
                ),
                false => {
                    Finding::problem(format!("{nobody}, though there is {shown}"), "systemctl restart xinetd")
                }
            };
        }
        let is_there = |unit: &str| {
            let places = ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
            places.iter().any(|place| self.root.join(place).join(unit).exists())
        };
        if !config.listen.is_empty() {
            let start = match probes.config_file {
                Some(file) => format!("pop3d --config {}", quoted(file)),
                None if is_there("pop3d.service") => "systemctl start pop3d.service".to_owned(),
                None => "pop3d".to_owned(),
            };
            let what = format!("{nobody}, though {} has [listen]", probes.file().display());
            return Finding::problem(what, start);
        }
        if is_there("pop3d.socket") {
            let what = format!("{nobody}: the unit pop3d.socket is installed and not started");
            return Finding::problem(what, "systemctl enable --now pop3d.socket");
        }
        Finding::problem(
            format!("{nobody}, and neither inetd nor systemd knows pop3d"),
            "pop3d --listen 110, or one of the other ways that pop3d(8) names",
        )
    }

    fn inetd(&self) -> PathBuf {
        self.root.join("etc/inetd.conf")
    }

    fn inetd_line(&self) -> Option<Line> {
        let text = fs::read_to_string(self.inetd()).ok()?;
        text.lines().find_map(Line::parse)
    }

    fn xinetd(&self) -> Option<PathBuf> {
        let entries = fs::read_dir(self.root.join("etc/xinetd.d")).ok()?;
        let names = entries.flatten().map(|entry| entry.path());
        names.into_iter().find(|path| {
            fs::read_to_string(path).is_ok_and(|text| text.contains("pop3d") && text.contains("service"))
        })
    }
}

/// A line of inetd.conf(5) for POP3.
struct Line {
    wait: String,
    user: String,
    program: PathBuf,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let service = words.first()?.rsplit(':').next()?;
        if !["pop3", "pop-3", "pop3s", "110", "995"].contains(&service) {
            return None;
        }
        let program = match words.get(5..)? {
            // The wrapper runs what comes behind it.
            [wrapper, real, ..] if wrapper.ends_with("/tcpd") => real,
            [program, ..] => program,
            [] => return None,
        };
        Some(Self {
            wait: words.get(3)?.to_string(),
            user: words.get(4)?.to_string(),
            program: PathBuf::from(program),
        })
    }

    /// What stops inetd from starting a server that works.
    fn fault(&self, file: &Path) -> Option<Finding> {
        let (shown, program) = (quoted(file), quoted(&self.program));
        let problem = |what: String, fix: String| Some(Finding::problem(format!("service: {what}"), fix));
        if self.wait.split('.').next() != Some("nowait") {
            return problem(
                format!("the line in {shown} says {}, so that one client blocks all others", self.wait),
                format!("write nowait into it, then restart inetd: {shown}"),
            );
        }
        let user = self.user.split(['.', ':']).next().unwrap_or_default();
        if user != "root" {
            return problem(
                format!("the line in {shown} starts pop3d as {user}, who may not read shadow"),
                format!("write root into it, then restart inetd: {shown}"),
            );
        }
        let correct = format!("correct the program in {shown}, then restart inetd");
        let (why, fix) = match fs::metadata(&self.program) {
            Err(cause) => (Error::io("cannot be looked at", cause).to_string(), correct),
            Ok(found) if !found.is_file() => ("is not a file".to_owned(), correct),
            Ok(found) if found.mode() & 0o111 == 0 => {
                ("cannot be executed".to_owned(), format!("chmod 755 {program}"))
            }
            Ok(_) => return None,
        };
        problem(format!("the line in {shown} starts {program}, which {why}"), fix)
    }
}

/// Address and inode of a socket that listens, from a line of `/proc/net/tcp` (proc_net_tcp).
fn listening(line: &str) -> Option<(SocketAddr, String)> {
    const LISTEN: &str = "0A";
    let words: Vec<&str> = line.split_whitespace().collect();
    if *words.get(3)? != LISTEN {
        return None;
    }
    let (address, port) = words.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Words of 32 bits, each in the order of this machine.
    let octets: Vec<u8> = (0..address.len() / 8)
        .map(|at| u32::from_str_radix(address.get(8 * at..8 * at + 8)?, 16).ok().map(u32::to_ne_bytes))
        .collect::<Option<Vec<_>>>()?
        .concat();
    let ip: IpAddr = match octets.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into(),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into(),
    };
    Some((SocketAddr::new(ip, port), (*words.get(9)?).to_owned()))
}

/// Who has a socket open: name and number; a server before the one that started it.
fn owner(inode: &str) -> Option<(String, u32)> {
    let wanted = format!("socket:[{inode}]");
    let mut owners = Vec::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        let has = |link: fs::DirEntry| fs::read_link(link.path()).is_ok_and(|to| to.as_os_str() == &*wanted);
        if descriptors.flatten().any(has)
            && let Ok(name) = fs::read_to_string(entry.path().join("comm"))
        {
            owners.push((name.trim().to_owned(), pid));
        }
    }
    owners.sort_by_key(|(name, pid)| (!name.contains("pop3d"), *pid));
    owners.into_iter().next()
}

#[cfg(test)]
mod tests;
