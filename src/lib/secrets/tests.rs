//! The secrets database (design, sections 4 and 5): sealed, ours alone, failing closed.

mod keys;

use super::*;
use crate::secret::Secret;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

/// An installation of our own.
struct Site {
    directory: tempfile::TempDir,
    places: Places,
}

impl Site {
    fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let places = Places {
            database: directory.path().join("auth/mailauth.db"),
            key: directory.path().join("mailauth.key"),
        };
        Self { directory, places }
    }

    fn new() -> Self {
        let site = Self::empty();
        initialise(&site.places).unwrap();
        site
    }

    fn open(&self) -> Store {
        Store::open(&self.places).unwrap()
    }

    fn error(&self) -> String {
        let error =
            Store::open(&self.places).and_then(|store| store.key(&self.places)).err().expect("an error");
        assert!(
            error.reply().starts_with("[SYS/PERM] secrets cannot be checked"),
            "design, section 5: {error}"
        );
        error.to_string()
    }

    fn add(&self, user: &str, secret: &str) -> Result<()> {
        add(&self.places, user, None, SecretType::Apop, Material::Sealed(&self::secret(secret)))
    }

    fn sql(&self, text: &str) {
        rusqlite::Connection::open(&self.places.database).unwrap().execute_batch(text).unwrap();
    }

    fn apop(&self, user: &str) -> Result<Secret> {
        let store = self.open();
        let sealed = store.user(user)?.unwrap().apop.unwrap();
        store.unseal(&store.key(&self.places)?, user, &sealed)
    }

    fn announced(&self) -> Vec<String> {
        announced(&self.places.database)
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

/// The verifiers of ann's application passwords.
fn verifiers(store: &Store) -> Vec<Secret> {
    store.user("ann").unwrap().unwrap().passwords.into_iter().map(|password| password.verifier).collect()
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_added_is_found_listed_and_removed() {
    let site = Site::new();
    site.add("bob", "secret of bob").unwrap();
    site.add("ann", "secret of ann").unwrap();
    assert_eq!(site.apop("ann").unwrap().expose(), b"secret of ann");
    assert!(site.open().user("Ann").unwrap().is_none(), "names are case-sensitive");
    let again = site.add("ann", "another one").unwrap_err().to_string();
    assert_eq!(
        (again.as_str(), site.apop("ann").unwrap().expose()),
        ("ann has an entry of type APOP already", &b"secret of ann"[..])
    );
    let names: Vec<String> = site.open().list(None).unwrap().into_iter().map(|entry| entry.user).collect();
    assert_eq!(names, ["ann", "bob"]);
    let entry = Listed {
        user: "ann".into(),
        kind: Some(SecretType::Apop),
        label: String::new(),
        locked: false,
        is_virtual: false,
        made: 0,
    };
    let mut listed = site.open().list(Some(SecretType::Apop)).unwrap();
    assert!(std::mem::take(&mut listed[0].made) > 1_700_000_000);
    assert_eq!(listed[0], entry);
    assert!(site.open().list(Some(SecretType::Pop)).unwrap().is_empty());
    assert_eq!(site.open().remove("ann", Some(SecretType::Pop), None).unwrap(), 0);
    assert_eq!(site.open().remove("ann", None, None).unwrap(), 1);
    assert!(site.open().user("ann").unwrap().is_none(), "no row is left");
}

/// Issue "mailauth": a user may have several application passwords; verifiers alone are kept.
#[test]
fn application_passwords_have_labels() {
    let site = Site::new();
    let mut store = site.open();
    for (label, verifier) in [("phone", "$6$a$b"), ("tablet", "$6$c$d")] {
        let verifier = secret(verifier);
        let material = Material::Verifier(&verifier);
        let new = NewEntry { user: "ann", owner: None, kind: SecretType::Pop, label, material };
        assert_eq!(store.add_new(&site.places, &new).unwrap(), Added::Yes { first: false });
        assert_eq!(store.add_new(&site.places, &new).unwrap(), Added::Exists);
    }
    assert_eq!(verifiers(&store), [secret("$6$a$b"), secret("$6$c$d")]);
    assert!(site.announced().is_empty(), "no mechanism is of use to her");
    assert_eq!(store.remove("ann", None, Some("phone")).unwrap(), 1);
    assert_eq!(verifiers(&store), [secret("$6$c$d")]);
}

#[test]
fn virtual_users_keep_their_places() {
    let site = Site::new();
    let owner =
        Owner { ids: Some((5000, 100)), home: Some("/home/v".into()), maildrop: Some("/mail/v".into()) };
    add(
        &site.places,
        "v@example.org",
        Some(&owner),
        SecretType::Apop,
        Material::Sealed(&secret("secret of v")),
    )
    .unwrap();
    assert_eq!(site.open().user("v@example.org").unwrap().unwrap().owner, Some(owner));
    add(
        &site.places,
        "w",
        Some(&Owner::default()),
        SecretType::Apop,
        Material::Sealed(&secret("secret of w")),
    )
    .unwrap();
    assert_eq!(site.open().user("w").unwrap().unwrap().owner, Some(Owner::default()));
    let mut store = site.open();
    let verifier = secret("$6$a$b");
    let material = Material::Verifier(&verifier);
    let new = NewEntry { user: "w", owner: None, kind: SecretType::Pop, label: "", material };
    let error = store.add_new(&site.places, &new).unwrap_err().to_string();
    assert_eq!(error, "w has entries as a virtual user: mailauth remove w removes them");
}

/// Design, section 3: what is announced is what some entry can use.
#[test]
fn the_flag_file_follows_every_change() {
    let site = Site::new();
    assert!(site.announced().is_empty());
    fs::write(site.directory.path().join("auth/.announce-0123"), "left by a killed writer").unwrap();
    site.add("ann", "secret of ann").unwrap();
    assert_eq!(site.announced(), ["APOP"]);
    site.sql("UPDATE user SET locked = 1");
    site.open().remove("nobody", None, None).unwrap();
    assert!(site.announced().is_empty(), "a locked user can use nothing");
    site.sql("UPDATE user SET locked = 0");
    site.add("bob", "secret of bob").unwrap();
    site.open().remove("ann", None, None).unwrap();
    assert_eq!(site.announced(), ["APOP"]);
    site.open().remove("bob", None, None).unwrap();
    assert!(site.announced().is_empty());
    let mut names: Vec<String> = fs::read_dir(site.directory.path().join("auth"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["announce", "mailauth.db"], "nothing else is left");
}

/// Design, section 5: unreadable or with a wrong mode or owner: never "skip the check".
#[test]
fn what_others_may_use_is_refused() {
    let site = Site::new();
    let Places { database, key } = &site.places;
    let directory = database.parent().unwrap();
    for (path, right, wrong) in [(directory, 0o700, 0o750), (database, 0o600, 0o640), (key, 0o400, 0o404)] {
        chmod(path, wrong);
        let error = site.error();
        assert!(
            error.contains("may be used by others") && error.contains(&format!("chmod {right:04o} ")),
            "{error}"
        );
        chmod(path, right);
        site.open().key(&site.places).expect("mended");
    }
    if !privileges::is_root() {
        eprintln!("not root: the owner is not tried");
        return;
    }
    for path in [directory, database, key] {
        std::os::unix::fs::chown(path, Some(65_534), None).unwrap();
        assert!(site.error().contains("belongs to uid 65534 and not to 0"), "{}", site.error());
        std::os::unix::fs::chown(path, Some(0), None).unwrap();
    }
}

#[test]
fn links_are_refused() {
    for name in ["auth/mailauth.db", "mailauth.key"] {
        let site = Site::new();
        let (path, aside) = (site.directory.path().join(name), site.directory.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        symlink(&aside, &path).unwrap();
        assert!(site.error().starts_with("cannot open "), "{}", site.error());
        fs::remove_file(&path).unwrap();
        fs::hard_link(&aside, &path).unwrap();
        assert!(site.error().contains("is not a regular file with one name"), "{}", site.error());
    }
    let site = Site::new();
    let (path, real) = (site.directory.path().join("auth"), site.directory.path().join("real"));
    fs::rename(&path, &real).unwrap();
    symlink(&real, &path).unwrap();
    site.open();
}

#[test]
fn foreign_newer_and_damaged_databases_are_refused() {
    let foreign = Site::new();
    foreign.sql("PRAGMA application_id = 7");
    assert!(foreign.error().contains("of another program"), "{}", foreign.error());
    let newer = Site::new();
    newer.sql("PRAGMA user_version = 4");
    assert!(newer.error().contains("has version 4 and this program knows 3"), "{}", newer.error());
    let text = Site::new();
    fs::write(&text.places.database, "ann:secret\n".repeat(500)).unwrap();
    assert!(text.error().contains("is no SQLite database"), "{}", text.error());
    let other = Site::new();
    fs::remove_file(&other.places.database).unwrap();
    other.sql("CREATE TABLE t (x)");
    chmod(&other.places.database, 0o600);
    assert!(other.error().contains("of another program"), "{}", other.error());
}

#[test]
fn a_database_cut_off_anywhere_is_refused() {
    let site = Site::new();
    site.add("ann", "secret of ann").unwrap();
    let whole = fs::read(&site.places.database).unwrap();
    for length in (0..whole.len()).step_by(509) {
        fs::write(&site.places.database, &whole[..length]).unwrap();
        let error = site.error();
        let known =
            ["is cut off", "no SQLite database", "is damaged"].iter().any(|words| error.contains(words));
        assert!(known, "{length} of {}: {error}", whole.len());
    }
    fs::write(&site.places.database, &whole).unwrap();
    assert_eq!(site.apop("ann").unwrap().expose(), b"secret of ann");
}

#[test]
fn a_missing_database_is_named_with_its_remedy() {
    let site = Site::empty();
    assert!(!site.places.database_exists().unwrap());
    assert!(site.error().ends_with("mailauth init makes it"), "{}", site.error());
}

/// A missing or wrong key: clear error, nothing overwritten.
#[test]
fn without_the_right_key_nothing_opens() {
    let site = Site::new();
    site.add("ann", "secret of ann").unwrap();
    let key = fs::read(&site.places.key).unwrap();
    let replace = |octets: &[u8]| {
        let _ = fs::remove_file(&site.places.key);
        fs::write(&site.places.key, octets).unwrap();
        chmod(&site.places.key, 0o400);
    };
    fs::remove_file(&site.places.key).unwrap();
    assert!(site.error().starts_with("cannot open "), "{}", site.error());
    for length in 0..key.len() {
        replace(&key[..length]);
        assert!(site.error().contains("is no key of mailauth's"), "{length}: {}", site.error());
    }
    replace(&[&key[..], b"\n"].concat());
    assert!(site.error().contains("is no key of mailauth's"), "{}", site.error());
    replace(&Key::generate().unwrap().to_bytes());
    assert!(site.error().contains("is not the key of "), "another key: {}", site.error());
    let mut turned = key.clone();
    *turned.last_mut().unwrap() ^= 1;
    replace(&turned);
    assert!(site.error().contains("is not the key of "), "one bit: {}", site.error());
    assert!(site.add("bob", "secret of bob").is_err());
    replace(&key);
    assert_eq!(site.apop("ann").unwrap().expose(), b"secret of ann");
    assert!(site.open().user("bob").unwrap().is_none());
}

/// Sealed secrets are bound to user and type.
#[test]
fn a_moved_entry_does_not_open() {
    let site = Site::new();
    site.add("ann", "secret of ann").unwrap();
    site.add("eve", "secret of eve").unwrap();
    site.sql(
        "UPDATE entry SET sealed = (SELECT sealed FROM entry JOIN user ON user.id = entry.user WHERE name = 'eve') \
         WHERE user = (SELECT id FROM user WHERE name = 'ann')",
    );
    let error = site.apop("ann").unwrap_err();
    assert!(
        error.to_string().starts_with("the APOP entry of ann in ") && error.reply().starts_with("[SYS/PERM]")
    );
    assert_eq!(site.apop("eve").unwrap().expose(), b"secret of eve");
}

#[test]
fn a_seal_opens_as_it_was_made_or_not_at_all() {
    let key = Key::generate().unwrap();
    let sealed = key.seal("ann", SecretType::Apop, &secret("tanstaaf")).unwrap();
    let open = |key: &Key, user, kind, sealed: &[u8]| key.unseal(user, kind, sealed);
    assert_eq!(open(&key, "ann", SecretType::Apop, &sealed), Some(secret("tanstaaf")));
    assert_eq!(open(&key, "ann", SecretType::Imap, &sealed), None, "another type");
    assert_eq!(open(&key, "anna", SecretType::Apop, &sealed), None, "another user");
    assert_eq!(open(&Key::generate().unwrap(), "ann", SecretType::Apop, &sealed), None, "another key");
    for length in 0..sealed.len() {
        assert_eq!(open(&key, "ann", SecretType::Apop, &sealed[..length]), None, "cut to {length}");
    }
    for at in 0..sealed.len() {
        let mut turned = sealed.clone();
        turned[at] ^= 0x10;
        assert_eq!(open(&key, "ann", SecretType::Apop, &turned), None, "octet {at}");
    }
    let longest = secret(&"x".repeat(LONGEST));
    let long = key.seal("ann", SecretType::Apop, &longest).unwrap();
    assert_eq!(
        (long.len(), open(&key, "ann", SecretType::Apop, &long)),
        (sealed.len(), Some(longest)),
        "lengths are hidden"
    );
    assert_ne!(
        sealed,
        key.seal("ann", SecretType::Apop, &secret("tanstaaf")).unwrap(),
        "a new nonce each time"
    );
    assert!(key.seal("ann", SecretType::Apop, &secret(&"x".repeat(LONGEST + 1))).is_err());
}

/// A copied database tells nothing: not the secret in any simple form, its predecessor's XOR with 0xff included.
#[test]
fn no_secret_is_readable_in_the_files() {
    let site = Site::new();
    let plain = "Zu9-geheim-plaintext";
    site.add("ann", plain).unwrap();
    let hex: String = plain.bytes().map(|octet| format!("{octet:02x}")).collect();
    let forms = [
        plain.as_bytes().to_vec(),
        plain.bytes().rev().collect(),
        plain.bytes().map(|octet| octet ^ 0xff).collect(),
        hex.into_bytes(),
    ];
    for name in ["auth/mailauth.db", "auth/announce", "mailauth.key"] {
        let octets = fs::read(site.directory.path().join(name)).unwrap();
        for form in &forms {
            assert!(!octets.windows(8).any(|part| part == &form[..8]), "{name}");
        }
    }
}

/// No "database is locked" reaches anybody: writers wait for each other.
#[test]
fn two_writers_do_not_disturb_each_other() {
    let site = Site::new();
    std::thread::scope(|scope| {
        for writer in ["a", "b"] {
            let site = &site;
            scope.spawn(move || {
                for number in 0..10 {
                    site.add(&format!("{writer}{number}"), "a good secret").unwrap();
                    assert!(site.open().list(None).unwrap().len() > number);
                }
            });
        }
    });
    assert_eq!(site.open().list(None).unwrap().len(), 20);
    assert_eq!(site.announced(), ["APOP"]);
}

#[test]
fn who_waits_too_long_is_told_to_try_again() {
    let site = Site::new();
    let other = rusqlite::Connection::open(&site.places.database).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = Store::open(&site.places).err().unwrap();
    assert_eq!((error.kind(), error.exit_status()), (Kind::Temporary, 75));
    assert!(error.to_string().ends_with("is in use by another program; try again"), "{error}");
}

#[test]
fn a_second_initialisation_changes_nothing_unless_told_to() {
    let site = Site::new();
    site.add("ann", "secret of ann").unwrap();
    let key = fs::read(&site.places.key).unwrap();
    assert!(initialise(&site.places).unwrap_err().to_string().ends_with("is there already"));
    assert_eq!(site.apop("ann").unwrap().expose(), b"secret of ann");
    fs::remove_file(&site.places.key).unwrap();
    prepare(&site.places, None).unwrap();
    assert!(site.error().contains("is not the key of"), "a new key does not open old entries");
    create(&site.places, true).unwrap();
    assert!(site.open().list(None).unwrap().is_empty() && site.announced().is_empty());
    assert_ne!(fs::read(&site.places.key).unwrap(), key);
    site.add("ann", "secret of ann").unwrap();
}

#[test]
fn an_interrupted_initialisation_is_finished_by_the_next() {
    let site = Site::empty();
    prepare(&site.places, None).unwrap();
    fs::write(&site.places.database, "").unwrap();
    chmod(&site.places.database, 0o600);
    assert!(site.error().contains("is cut off"), "until then it fails closed: {}", site.error());
    initialise(&site.places).unwrap();
    site.add("ann", "secret of ann").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&site.places.database), mode(&site.places.key)), (0o600, 0o400));
    assert_eq!(mode(site.places.database.parent().unwrap()), 0o700);
}

/// Issue "mailauth": an import is all or nothing, also when somebody else adds an entry after it was looked at.
#[test]
fn a_batch_is_all_or_nothing() {
    let site = Site::new();
    site.add("bob", "secret of bob").unwrap();
    let (ann, bob) = (secret("secret of ann"), secret("another one"));
    let new = |user, secret| {
        let material = Material::Sealed(secret);
        NewEntry { user, owner: None, kind: SecretType::Apop, label: "", material }
    };
    let entries = [new("ann", &ann), new("bob", &bob)];
    let mut store = site.open();
    let Batch::Refused(refused) = store.add_all(&site.places, &entries, &["ann"], &[], false).unwrap() else {
        panic!("bob has an entry");
    };
    assert!(refused.len() == 1 && refused[0].0 == 1 && refused[0].1.contains("--replace"), "{refused:?}");
    assert!(store.user("ann").unwrap().is_none(), "neither the entry nor the lock");
    assert_eq!(site.apop("bob").unwrap().expose(), b"secret of bob");
    assert_eq!(
        store.add_all(&site.places, &entries, &["ann"], &[], true).unwrap(),
        Batch::Done { first: false }
    );
    assert_eq!(site.apop("bob").unwrap().expose(), b"another one");
    let user = store.user("ann").unwrap().unwrap();
    assert!(user.locked && user.scram.is_some(), "with what SCRAM needs");
}
