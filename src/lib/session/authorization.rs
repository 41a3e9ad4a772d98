//! The AUTHORIZATION state (RFC 1939, section 4): who is it?

use super::exchange::{Exchange, Rejection, password as as_password};
use super::{CAPABILITIES_FOLLOW, Terms, command, language, not_supported};
use crate::protocol::capability::{self, LoginDelay, Offer};
use crate::protocol::command::{Command, Syntax};
use crate::protocol::greeting;
use crate::protocol::language::Language;
use crate::protocol::line::{AUTH_LIMIT, COMMAND_LIMIT, Line};
use crate::protocol::name::UserName;
use crate::protocol::reply::{Code, Reply, shown};
use crate::protocol::sasl::scram::Claim;
use crate::protocol::sasl::{Mechanism, Mechanisms, TlsFacts};
use crate::secret::Secret;

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
    /// CRAM-MD5 and SCRAM, as far as somebody can use them (design, section 3). What else is offered depends on the connection.
    pub mechanisms: Mechanisms,
    /// STLS can be used: there is a certificate, and the connection is in the clear (RFC 2595, section 4).
    pub stls: bool,
    /// Passwords may be sent as they are once TLS protects the connection.
    pub plaintext_over_tls: bool,
    /// What TLS gives; `None` in the clear.
    pub tls: Option<TlsFacts>,
    /// The time between two logins, as far as it is known of somebody unknown.
    pub login_delay: Option<LoginDelay>,
    /// Syntax errors, unknown commands and over-long lines; with the last one the connection closes.
    pub max_errors: u32,
    /// Refused logins; with the last one the connection closes.
    pub max_refusals: u32,
    /// Random octets of this connection's own, from which its challenges are made.
    pub seed: [u8; 32],
}

/// What the driver has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send it.
    Reply(Reply),
    /// Send it, then the lines, dot-stuffed, and the `.` line.
    Lines(Reply, Vec<String>),
    /// Send `+ `, these octets in base64, and a line end.
    Challenge(Vec<u8>),
    /// Check the login. Parse nothing more until the verdict is there: yes hands the connection over, no calls
    /// [`Authorization::refused`], none calls [`Authorization::unavailable`]; a salt calls [`Authorization::salted`], and a yes
    /// with a signature [`Authorization::proven`].
    Verify(Login),
    /// The client agrees to the signature: the yes holds, hand the connection over.
    Proceed,
    /// Nobody gets in with this, of this name. Tell the log, and refuse as after a verdict.
    Reject(String, Mechanism, Rejection),
    /// Send it, forget what was received behind the command, and begin TLS; when its handshake is done, call
    /// [`Authorization::encrypted`]. Parse nothing before.
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
    Password(Password),
    /// MD5 over challenge and secret (RFC 1939, section 7, APOP).
    Apop {
        /// The challenge with its angle brackets, as it is hashed.
        challenge: String,
        /// What the client sent.
        digest: [u8; 16],
    },
    /// The password (RFC 4616).
    Plain(Password),
    /// HMAC-MD5 over the challenge (RFC 2195).
    Cram {
        /// The challenge.
        challenge: String,
        /// What the client sent.
        digest: [u8; 16],
    },
    /// Nothing yet: salt and iterations of the name are wanted (RFC 5802).
    Salt {
        /// For SCRAM-SHA-256-PLUS.
        plus: bool,
    },
    /// The proof of SCRAM (RFC 5802).
    Scram {
        /// By SCRAM-SHA-256-PLUS.
        plus: bool,
        /// The proof and what it is over.
        claim: Claim,
    },
    /// A certificate, which was good (RFC 4422, appendix A).
    External,
}

impl Proof {
    /// The SASL mechanism; `None` for PASS and APOP.
    pub const fn mechanism(&self) -> Option<Mechanism> {
        match self {
            Self::Password(_) | Self::Apop { .. } => None,
            Self::Plain(_) => Some(Mechanism::Plain),
            Self::Cram { .. } => Some(Mechanism::CramMd5),
            Self::Salt { plus: false } | Self::Scram { plus: false, .. } => Some(Mechanism::ScramSha256),
            Self::Salt { plus: true } | Self::Scram { plus: true, .. } => Some(Mechanism::ScramSha256Plus),
            Self::External => Some(Mechanism::External),
        }
    }
}

/// A password.
#[derive(Debug, PartialEq, Eq)]
pub struct Password {
    /// As the client sent it. It is tried first: `passwd` and others do not prepare what they hash.
    pub given: Secret,
    /// What it becomes by SASLprep (RFC 4013), where it is text and that is something else.
    pub prepared: Option<Secret>,
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
    /// An AUTH exchange under way.
    exchange: Option<Exchange>,
    /// Challenges that were made.
    challenges: u64,
    /// UTF8 was said (RFC 6856, section 2.1): passwords are text from then on.
    utf8: bool,
    language: Language,
}

impl Authorization {
    /// The machine at the beginning of a connection.
    pub fn new(mut setup: Setup) -> Self {
        setup.challenge =
            setup.challenge.map(|challenge| format!("<{}>", challenge.trim_matches(['<', '>'])));
        Self {
            setup,
            user: None,
            errors: 0,
            refusals: 0,
            commands: 0,
            probed: None,
            exchange: None,
            challenges: 0,
            utf8: false,
            language: Language::default(),
        }
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
        if let Some(exchange) = self.exchange.take() {
            return self.answer(exchange, line);
        }
        match command(line) {
            Ok(command) => self.obey(command),
            Err(error) => self.error(error),
        }
    }

    /// The longest line that may come now, in octets with its end. A command has 255, AUTH with an initial response too (RFC 5034,
    /// section 4: a client whose response does not fit waits for the challenge).
    pub const fn line_limit(&self) -> usize {
        if self.exchange.is_some() { AUTH_LIMIT } else { COMMAND_LIMIT }
    }

    /// Whether the next line is a message of AUTH, which must not be shown.
    pub const fn is_exchanging(&self) -> bool {
        self.exchange.is_some()
    }

    /// The language of the replies' texts.
    pub const fn language(&self) -> Language {
        self.language
    }

    /// What the session takes over.
    pub fn terms(&self) -> Terms {
        let (plaintext_allowed, mechanisms) = (self.setup.plaintext_allowed, self.offered());
        Terms { plaintext_allowed, mechanisms, language: self.language }
    }

    /// TLS protects the connection from now on, and the client begins anew: what it said before is forgotten, since somebody on the
    /// way may have said it (RFC 2595, section 4). That goes for UTF8 and LANG too. What it has been counted for stays.
    pub fn encrypted(&mut self, facts: TlsFacts) {
        self.setup.tls = Some(facts);
        self.setup.stls = false;
        self.setup.plaintext_allowed = self.setup.plaintext_over_tls;
        self.user = None;
        self.exchange = None;
        self.probed = None;
        self.utf8 = false;
        self.language = Language::default();
    }

    /// There was no verdict: back to the beginning.
    pub fn unavailable(&mut self) {
        self.user = None;
        self.exchange = None;
    }

    /// The last name that was given and that no password followed: somebody may be trying which names exist.
    pub fn probed(&self) -> Option<&str> {
        self.probed.as_deref()
    }

    /// Whether passwords are taken over this connection.
    pub const fn takes_passwords(&self) -> bool {
        self.setup.plaintext_allowed
    }

    /// The verdict was no, or could not be found: back to the beginning, with this reply.
    pub fn refused(&mut self, reply: Reply) -> Effect {
        self.unavailable();
        self.refusals += 1;
        if self.refusals < self.setup.max_refusals { Effect::Reply(reply) } else { Effect::Close(reply) }
    }

    fn obey(&mut self, command: Command<'_>) -> Effect {
        // PASS follows USER directly (RFC 1939, section 7); questions that change nothing may stand between.
        let user = match command {
            Command::Capa | Command::Noop | Command::Lang(_) | Command::Utf8 => None,
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
            Command::Auth { mechanism: None, .. } => return self.list(),
            Command::Auth { mechanism: Some(mechanism), initial } => return self.auth(mechanism, initial),
            Command::Stls => return self.stls(),
            Command::Utf8 => {
                self.utf8 = true;
                Reply::ok("UTF-8 is understood.")
            }
            Command::Lang(None) => {
                let (reply, lines) = language::list();
                return Effect::Lines(reply, lines);
            }
            Command::Lang(Some(range)) => language::select(range, &mut self.language),
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
        match self.setup {
            Setup { tls: Some(_), .. } => Effect::Reply(Reply::err("The connection is encrypted already.")),
            Setup { stls: false, .. } => Effect::Reply(not_supported("STLS")),
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
                let proof = Proof::Password(as_password(password, self.utf8));
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
        self.fault(error.reply())
    }

    fn faulty(&mut self, text: &str) -> Effect {
        self.fault(Reply::err(text))
    }

    fn fault(&mut self, reply: Reply) -> Effect {
        self.unavailable();
        self.errors += 1;
        if self.errors < self.setup.max_errors {
            return Effect::Reply(reply);
        }
        Effect::Close(Reply::err("Too many errors: closing the connection."))
    }

    fn offer(&self) -> Offer {
        let Setup { plaintext_allowed, xlst, xmit, shy, login_delay, stls, .. } = self.setup;
        Offer { plaintext_allowed, xlst, xmit, shy, mechanisms: self.offered(), stls, login_delay }
    }

    /// RFC 3206, section 4: `[SYS/PERM]`, since the client cannot mend it by trying again.
    fn plaintext_refused(&self) -> Reply {
        match self.setup {
            Setup { tls: Some(_), .. } => Reply::coded(
                Code::SysPerm,
                "Passwords are not accepted by this server, use another mechanism.",
            ),
            Setup { stls: true, plaintext_over_tls: true, .. } => Reply::coded(
                Code::SysPerm,
                "Passwords are not accepted over this connection, which is not encrypted: use STLS first.",
            ),
            _ => Reply::coded(
                Code::SysPerm,
                "Passwords are not accepted over this connection, which is not encrypted.",
            ),
        }
    }
}

mod auth;
#[cfg(test)]
mod tests;
