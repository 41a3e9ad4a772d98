//! The AUTHORIZATION state (RFC 1939, section 4): who is it?

use super::{CAPABILITIES_FOLLOW, command, not_supported};
use crate::protocol::capability::{self, Offer};
use crate::protocol::command::{Command, Syntax};
use crate::protocol::greeting;
use crate::protocol::line::Line;
use crate::protocol::name::UserName;
use crate::protocol::reply::{Code, Reply, shown};
use crate::protocol::sasl::TlsFacts;
use crate::secret::Secret;

/// Syntax errors, unknown commands and over-long lines before login; with the last one the connection closes.
/// No client of users makes ten, and a scanner or a web browser's request is rid of quickly.
pub const MAX_ERRORS: u32 = 10;

/// Refused logins on one connection; with the last one it closes. A new connection costs a guesser more.
pub const MAX_REFUSALS: u32 = 3;

/// Commands before login: no client needs a dozen, and each costs the process that serves them all.
pub const MAX_COMMANDS: u32 = 100;

/// What the machine has to know of the server and of the connection.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The host's name, for greeting and farewell.
    pub host: String,
    /// Hide product and version.
    pub shy: bool,
    /// The APOP challenge, with or without its angle brackets; `None`: APOP is not offered.
    pub challenge: Option<String>,
    /// Passwords may be sent over this connection as they are.
    pub plaintext_allowed: bool,
    /// XTND XLST is switched on.
    pub xlst: bool,
    /// XTND XMIT is switched on.
    pub xmit: bool,
    /// What there is of TLS.
    pub tls: Tls,
}

/// TLS, as far as the machine has to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// STLS can be used (RFC 2595, section 4).
    pub offered: bool,
    /// Passwords may be sent as they are once the connection is encrypted.
    pub plaintext_allowed: bool,
    /// The facts of an encrypted connection; none in the clear.
    pub facts: Option<Box<TlsFacts>>,
}

/// What the driver has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send it.
    Reply(Reply),
    /// Send it, then the lines, dot-stuffed, and the `.` line.
    Lines(Reply, Vec<String>),
    /// Check the login. Parse nothing more until the verdict is there: yes hands the connection over, no calls
    /// [`Authorization::refused`].
    Verify(Login),
    /// Send it, forget what was received behind the command, and begin TLS; when its handshake is done, call
    /// [`Authorization::secured`]. Parse nothing before.
    StartTls(Reply),
    /// Send it and close the connection.
    Close(Reply),
}

/// Somebody wants in.
#[derive(Debug, PartialEq, Eq)]
pub struct Login {
    /// The name as it may be shown and logged: printable ASCII, at most 64 octets.
    pub shown: String,
    /// The name; `None` when the rules refuse it. Then refuse like an unknown user, at the same cost.
    pub user: Option<UserName>,
    /// How the client proves it.
    pub proof: Proof,
}

/// How a client proves who it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Proof {
    /// The password (RFC 1939, section 7, PASS).
    Password(Secret),
    /// MD5 over challenge and secret (RFC 1939, section 7, APOP).
    Apop {
        /// The challenge with its angle brackets, as it is hashed.
        challenge: String,
        /// What the client sent.
        digest: [u8; 16],
    },
}

/// The reply to a wrong password, an unknown user, a name that the rules refuse, and a locked account: the one
/// place that words it (history; RFC 3206, section 5). `shown` is [`Login::shown`].
pub fn incorrect(shown: &str) -> Reply {
    Reply::coded(Code::Auth, format!("Password supplied for \"{shown}\" is incorrect."))
}

/// The machine of one connection that has not logged in.
#[derive(Debug)]
pub struct Authorization {
    setup: Setup,
    /// What USER said: the name as it may be shown, and the name.
    user: Option<(String, Option<UserName>)>,
    errors: u32,
    refusals: u32,
    commands: u32,
    /// The last name that no password followed.
    probed: Option<String>,
}

impl Authorization {
    /// The machine at the beginning of a connection.
    pub fn new(mut setup: Setup) -> Self {
        setup.challenge =
            setup.challenge.map(|challenge| format!("<{}>", challenge.trim_matches(['<', '>'])));
        Self { setup, user: None, errors: 0, refusals: 0, commands: 0, probed: None }
    }

    /// What the server says first.
    pub fn greeting(&self) -> Reply {
        greeting::greeting(&self.setup.host, self.setup.shy, self.setup.challenge.as_deref())
    }

    /// Takes the next line.
    pub fn step(&mut self, line: Line<'_>) -> Effect {
        self.commands += 1;
        if self.commands > MAX_COMMANDS {
            return Effect::Close(Reply::err("Too many commands before login: closing the connection."));
        }
        match command(line) {
            Ok(command) => self.obey(command),
            Err(error) => self.error(error),
        }
    }

    /// The last name that was given and that no password followed: somebody may be trying which names exist.
    pub fn probed(&self) -> Option<&str> {
        self.probed.as_deref()
    }

    /// Whether passwords are taken over this connection.
    pub const fn takes_passwords(&self) -> bool {
        self.setup.plaintext_allowed
    }

    /// The connection is encrypted from now on. What the client said before is forgotten, since somebody else may have said it
    /// (RFC 2595, section 4).
    pub fn secured(&mut self, facts: TlsFacts) {
        self.user = None;
        self.setup.plaintext_allowed = self.setup.tls.plaintext_allowed;
        self.setup.tls = Tls { offered: false, facts: Some(Box::new(facts)), ..self.setup.tls };
    }

    /// The facts of an encrypted connection; none in the clear.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.setup.tls.facts.as_deref()
    }

    /// The verdict was no, or could not be found: back to the beginning, with this reply.
    pub fn refused(&mut self, reply: Reply) -> Effect {
        self.user = None;
        self.refusals += 1;
        if self.refusals < MAX_REFUSALS { Effect::Reply(reply) } else { Effect::Close(reply) }
    }

    fn obey(&mut self, command: Command<'_>) -> Effect {
        // PASS follows USER directly (RFC 1939, section 7); questions that change nothing may stand between.
        let user = match command {
            Command::Capa | Command::Noop => None,
            _ => self.user.take(),
        };
        Effect::Reply(match command {
            Command::User(name) => self.user(name),
            Command::Pass(password) => return self.pass(user, password.0),
            Command::Apop { user, digest } => return self.apop(user, digest),
            Command::Capa => {
                return Effect::Lines(Reply::ok(CAPABILITIES_FOLLOW), capability::lines(&self.offer()));
            }
            Command::Quit => return Effect::Close(greeting::farewell(&self.setup.host)),
            Command::Auth { .. } => not_supported("AUTH"),
            Command::Stls => return self.stls(),
            Command::Utf8 => not_supported("UTF8"),
            Command::Lang(_) => not_supported("LANG"),
            Command::Stat
            | Command::List(_)
            | Command::Retr(_)
            | Command::Dele(_)
            | Command::Noop
            | Command::Rset
            | Command::Top { .. }
            | Command::Uidl(_)
            | Command::Last
            | Command::Xmit
            | Command::Xlst { .. } => Reply::err("Not logged in: this command is for after USER and PASS."),
        })
    }

    fn stls(&self) -> Effect {
        match self.setup.tls {
            Tls { facts: Some(_), .. } => Effect::Reply(Reply::err("The connection is encrypted already.")),
            Tls { offered: false, .. } => Effect::Reply(not_supported("STLS")),
            _ => Effect::StartTls(Reply::ok("Begin TLS negotiation.")),
        }
    }

    fn user(&mut self, name: &[u8]) -> Reply {
        let shown = shown(name);
        self.probed = Some(shown.clone());
        if !self.setup.plaintext_allowed {
            return self.plaintext_refused();
        }
        let reply = Reply::ok(format!("Password required for {shown}."));
        self.user = Some((shown, UserName::parse(name)));
        reply
    }

    fn pass(&mut self, user: Option<(String, Option<UserName>)>, password: &[u8]) -> Effect {
        if !self.setup.plaintext_allowed {
            return Effect::Reply(self.plaintext_refused());
        }
        match user {
            Some((shown, user)) => {
                self.probed = None;
                let proof = Proof::Password(Secret::new(password.to_vec()));
                Effect::Verify(Login { shown, user, proof })
            }
            None => Effect::Reply(Reply::err("USER comes first.")),
        }
    }

    fn apop(&self, name: &[u8], digest: [u8; 16]) -> Effect {
        match self.setup.challenge.clone() {
            Some(challenge) => {
                let proof = Proof::Apop { challenge, digest };
                Effect::Verify(Login { shown: shown(name), user: UserName::parse(name), proof })
            }
            None => Effect::Reply(Reply::err("APOP is not offered: the greeting has no challenge.")),
        }
    }

    fn error(&mut self, error: Syntax) -> Effect {
        self.user = None;
        self.errors += 1;
        if self.errors < MAX_ERRORS {
            return Effect::Reply(error.reply());
        }
        Effect::Close(Reply::err("Too many errors: closing the connection."))
    }

    fn offer(&self) -> Offer {
        let Setup { plaintext_allowed, xlst, xmit, shy, .. } = self.setup;
        Offer { plaintext_allowed, xlst, xmit, shy, stls: self.setup.tls.offered }
    }

    /// RFC 3206, section 4: `[SYS/PERM]`, since the client cannot mend it by trying again.
    fn plaintext_refused(&self) -> Reply {
        let text = match &self.setup.tls {
            Tls { facts: Some(_), .. } => "Passwords are not accepted by this server, use another mechanism.",
            Tls { offered: true, plaintext_allowed: true, .. } => {
                "Passwords are not accepted over this connection, which is not encrypted: use STLS first."
            }
            _ => "Passwords are not accepted over this connection, which is not encrypted.",
        };
        Reply::coded(Code::SysPerm, text)
    }
}

#[cfg(test)]
mod tests;
