//! The source `mailauth`: the secrets database.
//!
//! It is asked by a child of the verifier. That becomes the user `pop`, opens database and key, decides, says what it decided
//! over a socket pair, and ends. So neither the key nor anybody's secret was ever in the memory of the process that becomes the
//! session, and root never opens a file of `pop`'s.

use super::crypt::{self, Failure};
use super::{Account, Finding, Proof, Reason, Verdict, child, unix};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::protocol::sasl::cram;
use crate::secret::Secret;
use crate::secrets::{
    self, Care, Limits, LimitsText, Owner, Places, Rules, SecretType, State, Store, Use, User, delegate,
};
use crate::sys::privileges::{self, Ids};
use crate::sys::sandbox::Missing;
use crate::sys::{account, clock};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use std::path::{Component, PathBuf};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// How long the child may take: it waits for writers for two seconds, and computes some hashes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the child found. It has no secret.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    /// The database has nothing that says yes or no.
    Unknown(LimitsText),
    /// No; whether a password hash was computed.
    No(No, bool),
    /// Yes: the user of this name, who is a system user unless there is an owner. SCRAM's yes is signed.
    Yes { name: String, owner: Option<Own>, signature: Option<[u8; 32]>, limits: LimitsText },
    /// What SCRAM has for the name.
    Salt { salt: Vec<u8>, iterations: u32 },
    /// It cannot be said.
    Trouble { temporary: bool, what: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum No {
    UnknownUser,
    SecretMissing,
    Locked,
    Retired,
    ApopOnly,
    WrongPassword,
    WrongDigest,
    WrongProof,
}

/// What a virtual user has of its own.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Own {
    pub(super) ids: Option<(u32, u32)>,
    pub(super) home: Option<PathBuf>,
    pub(super) maildrop: Option<PathBuf>,
}

impl From<Owner> for Own {
    fn from(Owner { ids, home, maildrop }: Owner) -> Self {
        Self { ids, home, maildrop }
    }
}

/// What is asked.
#[derive(Clone, Copy)]
enum Question<'a> {
    /// Whether this proves something.
    Verify(Proof<'a>),
    /// Salt and iterations for SCRAM.
    Salt,
}

/// Asks the database for what SCRAM has for a name.
pub(super) fn salt(config: &Config, user: &str) -> Result<(Vec<u8>, u32)> {
    let places = Places::of(config);
    if !places.database_exists()? {
        // Nobody has an entry, so that there is nothing to hide.
        return Ok(scram::nobodys(user));
    }
    match ask_child(config, &places, &[user.to_owned()], Question::Salt)? {
        Answer::Salt { salt, iterations } => Ok((salt, iterations)),
        Answer::Trouble { temporary, what } => Err(trouble(temporary, what)),
        _ => Err(trouble(
            true,
            "the secrets database was asked for a salt and answered something else".to_owned(),
        )),
    }
}

fn trouble(temporary: bool, what: String) -> Error {
    let kind = if temporary { Kind::Temporary } else { Kind::Permanent };
    Error::new(kind, what).tell(unix::TOLD)
}

/// What the database says.
pub(super) enum Said {
    /// This.
    Decided(Finding),
    /// Nothing about the credentials: it does not know the user, or does not exist. What it limits holds if others say yes.
    Open(Limits),
}

/// Asks the database.
pub(super) fn check(config: &Config, user: Option<&str>, proof: Proof<'_>) -> Said {
    said(config, user, proof).unwrap_or_else(|error| Said::Decided(Finding::unavailable(error)))
}

fn said(config: &Config, user: Option<&str>, proof: Proof<'_>) -> Result<Said> {
    let places = Places::of(config);
    if !places.database_exists()? {
        return Ok(Said::Open(Limits::default()));
    }
    let (names, is_of_system) = match proof {
        Proof::Password(_) | Proof::External => (names(user)?, false),
        // In exactly the letters that were sent. The system is asked whatever comes of it, so that all cost the same; it decides
        // nothing but the word in the log.
        Proof::Apop { .. } | Proof::Cram { .. } | Proof::Scram(_) => (
            user.map(str::to_owned).into_iter().collect(),
            user.is_some_and(|user| account::user(user).is_ok_and(|found| found.is_some())),
        ),
    };
    Ok(match ask_child(config, &places, &names, Question::Verify(proof))? {
        Answer::Unknown(limits) => Said::Open(read(&names, &limits)?),
        Answer::Salt { .. } => Said::Open(Limits::default()),
        Answer::No(No::UnknownUser, paid) if is_of_system => {
            Said::Decided(Finding { verdict: Verdict::Refused(Reason::NoSecret), paid })
        }
        Answer::No(no, paid) => Said::Decided(Finding { verdict: Verdict::Refused(no.into()), paid }),
        Answer::Yes { name, owner, signature, limits } => {
            let limits = read(&names, &limits)?;
            Said::Decided(signed(admit(config, name, owner)?.with_limits(limits), signature))
        }
        Answer::Trouble { temporary, what } => return Err(trouble(temporary, what)),
    })
}

/// Limits that cannot be read let nobody in.
fn read(names: &[String], limits: &LimitsText) -> Result<Limits> {
    limits_of(names.first().map_or("", String::as_str), limits)
}

/// The limits of this user, as the database has them.
///
/// # Errors
/// They are damaged.
pub(crate) fn limits_of(name: &str, limits: &LimitsText) -> Result<Limits> {
    limits.parse().map_err(|why| {
        trouble(
            false,
            format!("the limits of {name} are damaged: {why}: mailauth limit {name} sets them anew"),
        )
    })
}

impl From<No> for Reason {
    fn from(no: No) -> Self {
        match no {
            No::UnknownUser => Self::UnknownUser,
            No::SecretMissing => Self::NoSecret,
            No::Locked => Self::Locked,
            No::Retired => Self::Retired,
            No::ApopOnly => Self::ApopOnly,
            No::WrongPassword => Self::WrongPassword,
            No::WrongDigest => Self::WrongDigest,
            No::WrongProof => Self::WrongProof,
        }
    }
}

/// The name as it was sent, and as the account database writes it: some find `Ann` under `ann`, and her APOP entry is `ann`'s.
pub(super) fn names(user: Option<&str>) -> Result<Vec<String>> {
    let Some(user) = user else { return Ok(Vec::new()) };
    let failed = |cause| Error::io("cannot ask for a user of the system", cause).tell(unix::TOLD);
    let mut names = vec![user.to_owned()];
    names.extend(account::user(user).map_err(failed)?.map(|found| found.name).filter(|name| name != user));
    Ok(names)
}

/// Has a child decide.
fn ask_child(config: &Config, places: &Places, names: &[String], question: Question<'_>) -> Result<Answer> {
    let care = if config.auth.is_enhanced() { Care::Durable } else { Care::Quick };
    let owner = secrets::owner()?;
    if matches!(question, Question::Verify(Proof::Password(_))) {
        crypt::prepare();
    }
    child::ask("ask the secrets database", PATIENCE, |listener| {
        let mut used = None;
        let decided = delegate::enter(owner.as_ref(), places)
            .and_then(|_| decide_by(places, names, question, &mut used));
        let heard = listener.tell(&decided.unwrap_or_else(Answer::from));
        if let Some(used) = used {
            note(places, &used, care);
        }
        u8::from(!heard)
    })
}

/// Becomes the child that asks the secrets database, behind its fence. For the test of that.
///
/// # Errors
/// The system refuses.
pub(crate) fn enter(config: &Config, owner: Option<&Ids>) -> Result<Missing> {
    delegate::enter(owner, &Places::of(config))
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        Self::Trouble { temporary: error.kind() == Kind::Temporary, what: error.to_string() }
    }
}

/// Notes that an entry was used. The login goes on without it: state.db is knowledge, and decides nothing.
fn note(places: &Places, used: &Use, care: Care) {
    let now = clock::wall_seconds();
    let _ = State::note(places, used, now, care);
}

/// As [`decide_by`], where nobody wants to know the entry.
#[cfg(test)]
fn decide(places: &Places, names: &[String], question: Question<'_>) -> Result<Answer> {
    decide_by(places, names, question, &mut None)
}

/// Opens the database and decides. Everything that could tell one user from another costs the same. `used` gets the entry that was
/// good for a yes.
fn decide_by(
    places: &Places,
    names: &[String],
    question: Question<'_>,
    used: &mut Option<Use>,
) -> Result<Answer> {
    let store = Store::open(places)?;
    let sent = names.first().map_or("", String::as_str);
    let proof = match question {
        Question::Salt => return scram::salt(&store, places, sent),
        Question::Verify(proof) => proof,
    };
    match proof {
        Proof::Password(password) => {
            Ok(find(&store, names)?
                .map_or_else(nothing, |(name, user)| by_password(name, user, password, used)))
        }
        Proof::Apop { challenge, digest } => {
            by_digest(&store, places, sent, digest, |secret| apop_digest(challenge, secret), used)
        }
        Proof::Cram { challenge, digest } => {
            by_digest(&store, places, sent, digest, |secret| cram::digest(secret.expose(), challenge), used)
        }
        Proof::Scram(claim) => scram::check(&store, places, sent, claim, used),
        Proof::External => Ok(match find(&store, names)? {
            None => nothing(),
            Some((_, user)) if user.locked => Answer::No(locked(&user), false),
            Some((name, user)) => yes(name, user.owner, user.limits),
        }),
    }
}

/// The first of these names that the database knows.
fn find<'a>(store: &Store, names: &'a [String]) -> Result<Option<(&'a str, User)>> {
    for name in names {
        if let Some(user) = store.user(name)? {
            return Ok(Some((name, user)));
        }
    }
    Ok(None)
}

/// PASS: nobody with an APOP entry may use it; who has application passwords may use those alone.
fn by_password(name: &str, user: User, password: &Secret, used: &mut Option<Use>) -> Answer {
    if user.locked {
        return Answer::No(locked(&user), false);
    }
    if user.apop.is_some() {
        return Answer::No(No::ApopOnly, false);
    }
    if user.passwords.is_empty() {
        return Answer::Unknown(user.limits);
    }
    for known in &user.passwords {
        match crypt::verify(known.verifier.expose(), password.expose()) {
            Ok(true) => {
                let label = known.label.clone();
                *used = Some(Use { user: name.to_owned(), kind: SecretType::Pop, label });
                return yes(name, user.owner, user.limits);
            }
            Ok(false) | Err(Failure::Locked) => {}
            Err(Failure::System(cause)) => {
                let error = Error::io("cannot compute a password hash", cause).of_kind(Kind::Temporary);
                return error.into();
            }
            Err(Failure::Unsupported(scheme)) => return uncheckable(name, &scheme),
            Err(Failure::TooCostly(scheme)) => return uncheckable(name, scheme),
        }
    }
    Answer::No(No::WrongPassword, true)
}

fn uncheckable(name: &str, scheme: &str) -> Answer {
    let what = format!("a password of {name} has the scheme {scheme}, which cannot be checked");
    Error::new(Kind::Permanent, what).into()
}

/// APOP (RFC 1939, section 7) and CRAM-MD5 (RFC 2195): the digest is of challenge and secret. An unknown user has a secret too, which
/// nobody knows.
fn by_digest(
    store: &Store,
    places: &Places,
    name: &str,
    digest: &[u8],
    compute: impl FnOnce(&Secret) -> [u8; 16],
    used: &mut Option<Use>,
) -> Result<Answer> {
    let (user, key) = store.user_with_key(places, name)?;
    let sealed = user.as_ref().and_then(|user| user.apop.as_deref());
    let secret = match sealed {
        Some(sealed) => store.unseal(&key, name, sealed)?,
        None => key.dummy(),
    };
    let right: bool = compute(&secret).ct_eq(digest).into();
    Ok(match user {
        None => Answer::No(No::UnknownUser, false),
        Some(user) if user.apop.is_none() => Answer::No(No::SecretMissing, false),
        Some(user) if user.locked => Answer::No(locked(&user), false),
        Some(user) if right => {
            *used = Some(Use { user: name.to_owned(), kind: SecretType::Apop, label: String::new() });
            yes(name, user.owner, user.limits)
        }
        Some(_) => Answer::No(No::WrongDigest, false),
    })
}

/// What a client answers to a challenge, angle brackets included (RFC 1939, section 7).
pub(crate) fn apop_digest(challenge: &[u8], secret: &Secret) -> [u8; 16] {
    Md5::new().chain_update(challenge).chain_update(secret.expose()).finalize().into()
}

/// Nobody of this name.
fn nothing() -> Answer {
    Answer::Unknown(LimitsText::default())
}

/// Why nobody who is locked gets in.
const fn locked(user: &User) -> No {
    if user.retired { No::Retired } else { No::Locked }
}

fn yes(name: &str, owner: Option<Owner>, limits: LimitsText) -> Answer {
    Answer::Yes { name: name.to_owned(), owner: owner.map(Own::from), signature: None, limits }
}

/// The finding with the server's signature, when there is one.
fn signed(finding: Finding, signature: Option<[u8; 32]>) -> Finding {
    match (finding, signature) {
        (Finding { verdict: Verdict::Accepted(account), paid }, Some(signature)) => {
            Finding { verdict: Verdict::Proven(account, signature), paid }
        }
        (finding, _) => finding,
    }
}

/// The account of a user whose credentials are right.
pub(super) fn admit(config: &Config, name: String, own: Option<Own>) -> Result<Finding> {
    let failed = |cause| Error::io("cannot ask for a user of the system", cause).tell(unix::TOLD);
    let account = match (account::user(&name).map_err(failed)?, own) {
        (Some(user), None) if user.uid == 0 || user.uid < config.auth.min_uid => {
            return Ok(Finding::refused(Reason::BelowMinUid));
        }
        (Some(user), None) => unix::accepted(&name, user),
        (None, None) => return Ok(Finding::refused(Reason::UnknownUser)),
        (Some(_), Some(_)) => {
            let what = format!("{name} is a virtual user and a user of the system: mailauth remove {name}");
            return Err(Error::new(Kind::Permanent, what).tell(unix::TOLD));
        }
        (None, Some(own)) => virtual_account(config, name, own)?,
    };
    Ok(Finding { verdict: Verdict::Accepted(account), paid: true })
}

/// The account of a virtual user.
pub(super) fn virtual_account(config: &Config, name: String, own: Own) -> Result<Account> {
    let refused = |what: String| Err(Error::new(Kind::Permanent, what).tell(unix::TOLD));
    let (uid, gid, home) = match (own.ids, virtual_owner(config)) {
        (None, general) => general.map(|general| (general.uid, general.gid, general.home))?,
        (Some((uid, gid)), Ok(general)) if general.uid == uid => (uid, gid, general.home),
        (Some((uid, gid)), general) if uid != 0 && gid != 0 && uid >= config.auth.min_uid => {
            (uid, gid, general.map_or_else(|_| PathBuf::from(NO_HOME), |general| general.home))
        }
        (Some((uid, _)), _) => {
            return refused(format!(
                "{name} is a virtual user with uid {uid}, which is root's or below auth.min_uid"
            ));
        }
    };
    for path in [&own.home, &own.maildrop].into_iter().flatten() {
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            return refused(format!(
                "{name} is a virtual user with the path {}, which is not absolute",
                path.display()
            ));
        }
    }
    Ok(Account {
        name,
        uid,
        gid,
        home: own.home.unwrap_or(home),
        maildrop: own.maildrop,
        limits: Limits::default(),
    })
}

/// The home directory of who has none.
const NO_HOME: &str = "/nonexistent";

/// The account that owns the maildrops of virtual users: `auth.virtual_owner`, or without root's rights the one user.
///
/// # Errors
/// It is not set, unknown, or root.
pub(crate) fn virtual_owner(config: &Config) -> Result<Account> {
    let name = &config.auth.virtual_owner;
    if !privileges::is_root() {
        let own = privileges::own();
        let home = config.state_dir.clone();
        return Ok(Account {
            name: name.clone(),
            uid: own.uid,
            gid: own.gid,
            home,
            maildrop: None,
            limits: Limits::default(),
        });
    }
    let refused = |what: String| Error::new(Kind::Config, what).tell(unix::TOLD);
    if name.is_empty() {
        return Err(refused(
            "auth.virtual_owner is not set: name the system user that owns the maildrops of virtual users"
                .to_owned(),
        ));
    }
    let found = account::user(name)
        .map_err(|cause| Error::io("cannot ask for a user of the system", cause).tell(unix::TOLD))?;
    match found {
        None => Err(refused(format!("auth.virtual_owner: the system has no user {name}"))),
        Some(user) if user.uid == 0 || user.gid == 0 => {
            Err(refused(format!("auth.virtual_owner: {name} has root's uid or gid")))
        }
        Some(user) => Ok(unix::accepted(name, user)),
    }
}

/// What the configuration says of users, for the check of the database.
pub(crate) fn rules(config: &Config) -> Rules {
    Rules { min_uid: config.auth.min_uid, virtual_uid: virtual_owner(config).ok().map(|owner| owner.uid) }
}

mod scram;
#[cfg(test)]
mod tests;
