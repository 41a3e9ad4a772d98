//! Migrations, SCRAM verifiers, changes of the key, and backups.

use super::*;
use crate::protocol::sasl::scram::Verifier;

/// What makes a database one of version 1.
const BACK: &str = "ALTER TABLE meta DROP COLUMN salts; ALTER TABLE user DROP COLUMN retired; \
                    ALTER TABLE user DROP COLUMN hours; ALTER TABLE user DROP COLUMN networks; \
                    ALTER TABLE user DROP COLUMN login_delay; PRAGMA user_version = 1;";

/// Migrations 2 and 3: a database of version 1 is brought forward when it is opened, and nothing of it is lost.
#[test]
fn an_older_database_is_migrated() {
    let site = Site::new();
    site.add("ann", "secret of ann").unwrap();
    site.sql(&format!("{BACK} UPDATE entry SET scram = NULL"));
    assert_eq!(site.apop("ann").unwrap().expose(), b"secret of ann");
    let database = rusqlite::Connection::open(&site.places.database).unwrap();
    let salts: i64 = database.query_row("SELECT length(salts) FROM meta", [], |row| row.get(0)).unwrap();
    assert_eq!(salts, 32);
    site.sql(BACK);
    create(&site.places, true).unwrap();
    assert!(site.open().list(None).unwrap().is_empty(), "init --clear brings it forward too");
    site.add("ann", "secret of ann").unwrap();
}

fn scram_of(site: &Site, name: &str) -> Verifier {
    let store = site.open();
    let (user, key) = store.user_with_key(&site.places, name).unwrap();
    store.scram(&key, name, user.as_ref()).unwrap()
}

/// RFC 5802: the salt of a name is the same each time, whether there is such a user or not, and whatever becomes of the key.
#[test]
fn every_name_has_a_scram_verifier() {
    let site = Site::new();
    site.add("ann", "secret of ann").unwrap();
    let ann = scram_of(&site, "ann");
    assert_eq!(ann, Verifier::of_password(secret("secret of ann").expose(), &ann.salt, ann.iterations));
    let nobody = scram_of(&site, "nobody");
    assert_eq!(
        (nobody.salt.len(), nobody.iterations),
        (ann.salt.len(), ann.iterations),
        "nobody tells them apart"
    );
    assert_ne!(scram_of(&site, "other").salt, nobody.salt);
    assert_ne!(nobody, Verifier::of_password(secret("").expose(), &nobody.salt, nobody.iterations));
    site.sql("UPDATE entry SET scram = NULL");
    let made = scram_of(&site, "ann");
    assert_eq!(made, Verifier::of_password(secret("secret of ann").expose(), &made.salt, made.iterations));
    rekey(&site.places, None).unwrap();
    assert_eq!((scram_of(&site, "nobody"), scram_of(&site, "ann")), (nobody, made), "the key is another");
    site.sql("UPDATE entry SET scram = 'SCRAM-SHA-256$x'");
    let store = site.open();
    let (user, key) = store.user_with_key(&site.places, "ann").unwrap();
    assert!(store.scram(&key, "ann", user.as_ref()).unwrap_err().to_string().contains("mailauth passwd ann"));
}

/// A reader takes whichever of the two keys the database names, and the next change puts the files in order.
#[test]
fn an_interrupted_change_of_the_key_is_taken_up() {
    let site = Site::new();
    site.add("ann", "secret of ann").unwrap();
    let opens = || assert_eq!(site.apop("ann").unwrap().expose(), b"secret of ann");
    let other = || Key::generate().unwrap().create(&site.places.new_key(), None).unwrap();
    // Before the transaction.
    other();
    opens();
    rekey(&site.places, None).unwrap();
    opens();
    assert!(!site.places.new_key().exists());
    // After it, before the new key has its name.
    let (old, aside) = (fs::read(&site.places.key).unwrap(), site.directory.path().join("aside"));
    rekey(&site.places, None).unwrap();
    fs::rename(&site.places.key, site.places.new_key()).unwrap();
    fs::write(&site.places.key, &old).unwrap();
    chmod(&site.places.key, 0o400);
    opens();
    site.add("bob", "secret of bob").unwrap();
    assert_eq!(rekey(&site.places, None).unwrap(), 2);
    opens();
    assert!(!site.places.new_key().exists());
    // Two at once.
    let held = rekey::hold(&site.places.key).unwrap();
    let error = rekey(&site.places, None).unwrap_err();
    assert_eq!((error.kind(), error.exit_status()), (Kind::Temporary, 75));
    drop(held);
    // A key that is another's changes nothing and leaves nothing.
    fs::rename(&site.places.key, &aside).unwrap();
    fs::write(&site.places.key, &old).unwrap();
    chmod(&site.places.key, 0o400);
    assert!(rekey(&site.places, None).unwrap_err().to_string().contains("is not the key of"));
    assert!(!site.places.new_key().exists() && fs::read(&site.places.key).unwrap() == old);
    fs::rename(&aside, &site.places.key).unwrap();
    opens();
}

/// One entry that does not open stops the change of the key: nothing of it would open afterwards.
#[test]
fn the_key_is_not_changed_when_a_secret_does_not_open() {
    let site = Site::new();
    site.add("ann", "secret of ann").unwrap();
    site.add("eve", "secret of eve").unwrap();
    site.sql("UPDATE user SET name = 'eva' WHERE name = 'eve'");
    let key = fs::read(&site.places.key).unwrap();
    let error = rekey(&site.places, None).unwrap_err().to_string();
    assert!(
        error.contains("the APOP entry of eva in ") && error.contains("mailauth passwd --type APOP eva"),
        "{error}"
    );
    assert_eq!((fs::read(&site.places.key).unwrap(), site.places.new_key().exists()), (key, false));
    assert_eq!(site.apop("ann").unwrap().expose(), b"secret of ann");
}

/// The format of backups: what is written is read again line by line, and a plain one has the secrets.
#[test]
fn a_backup_is_read_as_it_was_written() {
    let site = Site::new();
    let owner = Owner { ids: Some((5000, 100)), home: Some("/home/v".into()), maildrop: None };
    add(
        &site.places,
        "v",
        Some(&owner),
        SecretType::Apop,
        Material::Sealed(&Secret::new(b"no utf-8 \xff".to_vec())),
    )
    .unwrap();
    site.add("ann", "secret of ann").unwrap();
    for plain in [false, true] {
        let mut octets = Vec::new();
        let end = export::write(&site.places, plain, &mut octets).unwrap();
        let text = String::from_utf8(octets).unwrap();
        let lines: Vec<export::Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let again: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
        assert_eq!((again.as_str(), lines.last().unwrap()), (text.as_str(), &export::Line::End(end)));
        assert_eq!((end.users, end.entries, text.contains("secret of ann")), (2, 2, plain));
        assert_eq!(text.contains("\"secret_base64\":\"bm8gdXRmLTgg/w==\""), plain, "{text}");
        assert!(text.contains("\"virtual\":{\"uid\":5000,\"gid\":100,\"home\":\"/home/v\"}"), "{text}");
    }
}

/// A newer, foreign or cut-off database is refused and stays as it is, octet by octet.
#[test]
fn what_is_refused_is_not_touched() {
    for sql in ["PRAGMA user_version = 9", "PRAGMA application_id = 7"] {
        let site = Site::new();
        site.add("ann", "secret of ann").unwrap();
        site.sql(sql);
        let before = fs::read(&site.places.database).unwrap();
        assert!(site.add("bob", "secret of bob").is_err() && rekey(&site.places, None).is_err());
        assert_eq!(fs::read(&site.places.database).unwrap(), before);
        // What is asked for by name: another program's is set aside whole, a newer one is somebody's.
        let kept = match create(&site.places, true) {
            Ok(made) => made.aside.unwrap(),
            Err(error) => {
                assert!(error.to_string().contains("has version 9"), "{error}");
                site.places.database.clone()
            }
        };
        assert_eq!(kept == site.places.database, sql.contains("version"));
        assert_eq!(fs::read(kept).unwrap(), before);
    }
}
