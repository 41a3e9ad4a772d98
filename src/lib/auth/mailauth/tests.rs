//! What the secrets database decides (design, section 5). The decision alone: the child that makes it is tried from outside.

use super::*;
use crate::secrets::{Material, NewEntry, SecretType};
use crate::sys::privileges;

/// The example of RFC 1939, section 7.
const CHALLENGE: &[u8] = b"<1896.697170952@dbc.mtview.ca.us>";
const SECRET: &str = "tanstaaf";
const DIGEST: [u8; 16] = 0xc4c9_334b_ac56_0ecc_979e_5800_1b3e_22fb_u128.to_be_bytes();

struct Site {
    _directory: tempfile::TempDir,
    places: Places,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let places = Places { database: path.join("auth/mailauth.db"), key: path.join("mailauth.key") };
        secrets::initialise(&places).unwrap();
        let site = Self { _directory: directory, places };
        secrets::add(&site.places, "mrose", None, SecretType::Apop, Material::Sealed(&secret(SECRET)))
            .unwrap();
        site
    }

    fn apop(&self, user: &str, digest: &[u8]) -> Answer {
        let proof = Proof::Apop { challenge: CHALLENGE, digest };
        decide(&self.places, &[user.to_owned()], proof).unwrap()
    }

    fn pass(&self, names: &[&str], password: &str) -> Answer {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        decide(&self.places, &names, Proof::Password(&secret(password))).unwrap()
    }

    fn add_password(&self, user: &str, label: &str, verifier: &str) {
        let mut store = Store::open(&self.places).unwrap();
        let verifier = secret(verifier);
        let material = Material::Verifier(&verifier);
        store
            .add_new(&self.places, &NewEntry { user, owner: None, kind: SecretType::Pop, label, material })
            .unwrap();
    }

    fn lock(&self) {
        let database = rusqlite::Connection::open(&self.places.database).unwrap();
        database.execute_batch("UPDATE user SET locked = 1").unwrap();
    }
}

fn decide(places: &Places, names: &[String], proof: Proof<'_>) -> Result<Answer> {
    super::decide(places, names, Question::Verify(proof))
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn yes(name: &str) -> Answer {
    Answer::Yes { name: name.to_owned(), owner: None, signature: None, limits: LimitsText::default() }
}

/// RFC 1939, section 7: the example of APOP.
#[test]
fn the_digest_of_the_rfc_is_right() {
    assert_eq!(Site::new().apop("mrose", &DIGEST), yes("mrose"));
}

#[test]
fn every_other_digest_is_wrong() {
    let site = Site::new();
    for at in 0..16 {
        let mut wrong = DIGEST;
        wrong[at] ^= 1;
        assert_eq!(site.apop("mrose", &wrong), Answer::No(No::WrongDigest, false), "octet {at}");
    }
    for length in 0..16 {
        assert_eq!(
            site.apop("mrose", &DIGEST[..length]),
            Answer::No(No::WrongDigest, false),
            "{length} octets"
        );
    }
}

#[test]
fn unknown_and_locked_users_do_not_get_in() {
    let site = Site::new();
    for name in ["nobody", "Mrose", "MROSE", ""] {
        assert_eq!(site.apop(name, &DIGEST), Answer::No(No::UnknownUser, false), "{name}");
    }
    let dummy = Store::open(&site.places).unwrap().key(&site.places).unwrap().dummy();
    let digest = Md5::new().chain_update(CHALLENGE).chain_update(dummy.expose()).finalize();
    assert_eq!(site.apop("nobody", &digest), Answer::No(No::UnknownUser, false), "whatever the dummy is");
    assert_eq!(
        decide(&site.places, &[], Proof::Apop { challenge: CHALLENGE, digest: &DIGEST }).unwrap(),
        Answer::No(No::UnknownUser, false)
    );
    site.lock();
    assert_eq!(site.apop("mrose", &DIGEST), Answer::No(No::Locked, false));
    assert_eq!(site.pass(&["mrose"], SECRET), Answer::No(No::Locked, false));
}

/// RFC 1939, section 13: a user has one method, not both.
#[test]
fn who_has_an_apop_entry_cannot_use_pass() {
    let site = Site::new();
    for password in [SECRET, "another"] {
        assert_eq!(site.pass(&["mrose"], password), Answer::No(No::ApopOnly, false));
    }
    assert_eq!(
        site.pass(&["Mrose", "mrose"], SECRET),
        Answer::No(No::ApopOnly, false),
        "another spelling of the name"
    );
    assert_eq!(site.pass(&["ann"], SECRET), nothing());
    site.add_password(
        "mrose",
        "phone",
        &pwhash::unix::crypt("for the phone", "$6$rounds=1000$salt").unwrap(),
    );
    assert_eq!(site.pass(&["mrose"], "for the phone"), Answer::No(No::ApopOnly, false));
}

#[test]
fn an_application_password_is_as_good_as_the_next_and_alone_good() {
    let site = Site::new();
    for (label, password) in [("phone", "for the phone"), ("tablet", "for the tablet")] {
        site.add_password("ann", label, &pwhash::unix::crypt(password, "$6$rounds=1000$salt").unwrap());
    }
    for password in ["for the phone", "for the tablet"] {
        assert_eq!(site.pass(&["ann"], password), yes("ann"));
    }
    assert_eq!(site.pass(&["ann"], "login password"), Answer::No(No::WrongPassword, true));
    assert_eq!(site.apop("ann", &DIGEST), Answer::No(No::SecretMissing, false));
}

/// Design, section 5: the database fails closed. PASS needs no key: others go on being served.
#[test]
fn without_its_key_apop_is_unavailable_and_pass_is_not() {
    let site = Site::new();
    std::fs::remove_file(&site.places.key).unwrap();
    for name in ["mrose", "nobody"] {
        let proof = Proof::Apop { challenge: CHALLENGE, digest: &DIGEST };
        let error = decide(&site.places, &[name.to_owned()], proof).unwrap_err();
        assert!(error.reply().starts_with("[SYS/PERM]"), "alike for {name}: {error}");
    }
    assert_eq!(site.pass(&["ann"], "x"), nothing());
    assert_eq!(site.pass(&["mrose"], SECRET), Answer::No(No::ApopOnly, false));
}

#[test]
fn a_database_that_others_may_read_decides_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    std::fs::set_permissions(&site.places.database, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = decide(&site.places, &["ann".to_owned()], Proof::Password(&secret("x"))).unwrap_err();
    assert!(error.reply().starts_with("[SYS/PERM]"), "{error}");
}

fn config(virtual_owner: &str) -> Config {
    let mut config = Config::default();
    config.auth.virtual_owner = virtual_owner.to_owned();
    config.auth.min_uid = 1000;
    config
}

fn own(ids: Option<(u32, u32)>) -> Own {
    Own { ids, home: None, maildrop: None }
}

/// Design, section 7: `virtual_owner`.
#[test]
fn virtual_users_run_as_their_owner() {
    if !privileges::is_root() {
        let account = virtual_account(&config(""), "v".into(), own(None)).unwrap();
        assert_eq!(account.uid, privileges::own().uid, "design, section 2: everything under the one uid");
        eprintln!("not root: only the one uid is tried");
        return;
    }
    let nobody = account::user("nobody").unwrap().unwrap();
    let account = virtual_account(&config("nobody"), "v".into(), own(None)).unwrap();
    assert_eq!((account.name.as_str(), account.uid, account.gid), ("v", nobody.uid, nobody.gid));
    assert_eq!(account.home, nobody.home);
    let account = virtual_account(&config(""), "v".into(), own(Some((5000, 100)))).unwrap();
    assert_eq!((account.uid, account.gid), (5000, 100));
    for (owner, ids, words) in [
        ("", None, "auth.virtual_owner is not set"),
        ("no-such-user", None, "the system has no user no-such-user"),
        ("root", None, "root has root's uid or gid"),
        ("nobody", Some((999, 999)), "uid 999, which is root's or below"),
        ("nobody", Some((0, 100)), "uid 0, which is root's or below"),
        ("", Some((5000, 0)), "which is root's or below"),
    ] {
        let error = virtual_account(&config(owner), "v".into(), own(ids)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.reply().starts_with("[SYS/PERM]"), "{error}");
    }
}

#[test]
fn an_entry_has_places_of_its_own() {
    let ids = (!privileges::is_root()).then(|| (privileges::own().uid, privileges::own().gid));
    let own = |maildrop: &str| Own {
        ids: ids.or(Some((5000, 5000))),
        home: Some("/home/v".into()),
        maildrop: Some(maildrop.into()),
    };
    let config = config("");
    let account = virtual_account(&config, "v".into(), own("/mail/v")).unwrap();
    assert_eq!((account.home.as_path(), account.mailbox(&config)), ("/home/v".as_ref(), "/mail/v".into()));
    for wrong in ["mail/v", "/mail/../etc/v"] {
        assert!(virtual_account(&config, "v".into(), own(wrong)).is_err(), "{wrong}");
    }
    let plain = virtual_account(&config, "v".into(), Own { maildrop: None, ..own("") }).unwrap();
    assert_eq!(plain.mailbox(&config), std::path::Path::new("/var/mail/v"));
}

#[test]
fn a_name_is_not_of_both_sorts() {
    let error = admit(&config("nobody"), "root".into(), Some(own(None))).unwrap_err().to_string();
    assert!(error.contains("is a virtual user and a user of the system: mailauth remove root"), "{error}");
    let refused = |finding: Finding| match finding.verdict {
        Verdict::Refused(reason) => reason.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(admit(&config(""), "no-such-user".into(), None).unwrap()), "unknown-user");
    assert_eq!(refused(admit(&config(""), "root".into(), None).unwrap()), "below-min-uid");
}

/// An answer crosses the socket pair whole.
#[test]
fn answers_are_read_as_they_were_written() {
    let own = Own { ids: Some((1, 2)), home: Some("/h".into()), maildrop: None };
    for answer in [
        nothing(),
        Answer::No(No::ApopOnly, true),
        Answer::Yes { name: "v".into(), owner: Some(own), signature: None, limits: LimitsText::default() },
        Answer::Trouble { temporary: true, what: "x".into() },
    ] {
        let bytes = serde_json::to_vec(&answer).unwrap();
        assert_eq!(serde_json::from_slice::<Answer>(&bytes).unwrap(), answer);
    }
}

mod sasl;
