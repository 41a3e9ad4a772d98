//! The configuration's rules (design, section 7).

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn parse(text: &str) -> crate::error::Result<Config> {
    Config::parse(text, Path::new("pop3d.toml"))
}

fn fault(text: &str) -> String {
    let error = parse(text).expect_err(text);
    assert_eq!(error.exit_status(), 78, "sysexits: EX_CONFIG");
    error.to_string()
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.limits.idle_timeout, Duration::from_secs(600), "RFC 1939, section 3");
    assert_eq!(config.auth.sources, [Source::Unix, Source::Mailauth]);
    assert_eq!(config.auth.announce, Announce::Auto);
    assert_eq!(config.auth.secrets, Path::new("/var/lib/poptools/auth/mailauth.db"));
    assert_eq!(config.auth.key, Path::new("/etc/poptools/mailauth.key"));
    assert_eq!(config.maildrop.path.to_string(), "/var/mail/{user}");
    assert_eq!(config.auth.plaintext, Plaintext::TlsOrLoopback);
    assert!(!config.hostname.is_empty());
}

#[test]
fn every_key_of_this_version_is_read() {
    let config = parse(
        r#"
        hostname = "pop.example.org"
        state_dir = "/s"
        run_dir = "/r"
        sandbox = "require"
        shy = true
        [maildrop]
        path = "{home}/mbox"
        format = "mbox"
        locks = ["dotlock"]
        [auth]
        sources = ["mailauth", "unix"]
        secrets = "/s/db"
        key = "/k"
        announce = ["APOP"]
        virtual_owner = "vmail"
        failure_delay = 3
        plaintext = "always"
        min_uid = 500
        [limits]
        idle_timeout = 700
        login_timeout = 30
        max_verifications = 3
        max_errors = 5
        max_refusals = 2
        max_memory = 200000000
        max_login_memory = 100000000
        max_message = 2048
        [xtnd]
        xlst = false
        xmit = false
        sendmail = "/bin/s"
        [log]
        statistics = true
        "#,
    )
    .unwrap();
    assert_eq!((config.hostname.as_str(), config.shy), ("pop.example.org", true));
    assert_eq!((config.state_dir.as_path(), config.run_dir.as_path()), (Path::new("/s"), Path::new("/r")));
    assert_eq!(config.sandbox, Sandbox::Require);
    assert_eq!(config.maildrop.path.to_string(), "{home}/mbox");
    assert_eq!((config.maildrop.format, config.maildrop.locks), (Format::Mbox, vec![Lock::Dotlock]));
    assert_eq!((config.auth.failure_delay.as_secs(), config.auth.min_uid), (3, 500));
    assert_eq!(config.auth.plaintext, Plaintext::Always);
    assert_eq!(config.auth.sources, [Source::Mailauth, Source::Unix]);
    assert_eq!(
        (config.auth.secrets.as_path(), config.auth.key.as_path()),
        (Path::new("/s/db"), Path::new("/k"))
    );
    assert_eq!(config.auth.announce, Announce::List(vec![Mechanism::Apop]));
    assert_eq!(config.auth.virtual_owner, "vmail");
    assert_eq!((config.limits.idle_timeout.as_secs(), config.limits.login_timeout.as_secs()), (700, 30));
    assert_eq!((config.limits.verifications(), config.limits.max_message), (3, 2048));
    assert_eq!((config.limits.max_errors, config.limits.max_refusals), (5, 2));
    assert_eq!((config.limits.max_memory, config.limits.max_login_memory), (200_000_000, 100_000_000));
    assert!(!config.xtnd.xlst && !config.xtnd.xmit && config.log.statistics);
    assert_eq!(config.xtnd.sendmail, Path::new("/bin/s"));
}

#[test]
fn errors_name_file_line_column_and_key() {
    let unknown = fault("shy = true\n[limits]\nidle_timout = 3\n");
    assert!(unknown.starts_with("pop3d.toml:3:1: limits.idle_timout: unknown field"), "{unknown}");
    let typed = fault("[limits]\n  idle_timeout = \"long\"\n");
    assert!(typed.starts_with("pop3d.toml:2:18: limits.idle_timeout: invalid type"), "{typed}");
    let range = fault("[limits]\n# 0\n  idle_timeout = 0\n");
    assert_eq!(range, "pop3d.toml:3:3: limits.idle_timeout: must be 1 to 86400 seconds");
    let dotted = fault("limits.login_timeout = 90000");
    assert!(dotted.starts_with("pop3d.toml:1:1: limits.login_timeout: must be"), "{dotted}");
    let syntax = fault("shy = true\nshy");
    assert!(syntax.starts_with("pop3d.toml:2:"), "{syntax}");
    let table = fault("[lisn]\npop3 = []\n");
    assert!(table.contains("unknown field `lisn`"), "{table}");
    let list = fault("[auth]\nsources = [\n  \"unix\",\n  \"ldap\",\n]\n");
    assert!(list.contains(": auth.sources: \"ldap\" is no source of credentials"), "{list}");
}

/// Who reads an error learns what to write, not only what is wrong (pop3d(8), `--check`).
#[test]
fn errors_say_what_to_write() {
    for (text, fix) in [
        ("[maildrop]\nlocks = \"fcntl\"", "write locks = [\"fcntl\"]"),
        ("[maildrop]\nlocks = [fcntl, dotlock]", "write locks = [\"fcntl\", \"dotlock\"]"),
        ("[listen]\npop3 = 110", "write pop3 = [\"110\"]"),
        ("[listen]\npop3 = [110]", "write pop3 = [\"110\"]"),
        ("[log]\nstatistics = yes # please", "write statistics = true"),
        ("[log]\nstatistics = 0", "write statistics = false"),
        ("shy = maybe", "write shy = true or shy = false"),
        ("[auth]\nmin_uid = \"1000\"", "write min_uid = 1000"),
        ("[limits]\nidle_timeout = 10m", "write idle_timeout = and a whole number without quotes or unit"),
        ("hostname = pop.example.org", "write hostname = \"pop.example.org\""),
        ("plaintext = \"always\"", "write plaintext under [auth]"),
        ("maildrop = \"/var/mail\"", "write [maildrop] on a line of its own, and its keys below it"),
        ("[limits]\nlocks = []", "write locks under [maildrop]"),
        ("[auth]\nshy = true", "write shy above the first table, in front of [auth]"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.to_string().ends_with(&format!("; {fix}")), "{text}: {error}");
    }
    for plain in ["[limits]\nidle_timout = 3", "sandbox = \"no\"", "[maildrop]\npath = \"/a"] {
        assert_eq!(parse(plain).expect_err(plain).take_fix(), None, "{plain}");
    }
}

#[test]
fn what_is_not_built_in_is_an_error_that_says_so() {
    let pam = "[auth]\nsources = [\"pam\"]";
    if cfg!(feature = "pam") {
        assert!(Config::parse(pam, Path::new("pop3d.toml")).is_ok());
    } else {
        assert!(fault(pam).contains("build it with cargo build --release --features pam"));
    }
    assert!(fault("[auth]\nplaintext = \"ssl\"").contains("is no policy"));
}

#[test]
fn values_out_of_range_and_contradictions_are_errors() {
    for (text, key) in [
        ("hostname = \"\"", "hostname"),
        ("hostname = \"a b\"", "hostname"),
        ("hostname = \"a..b\"", "hostname"),
        ("state_dir = \"x\"", "state_dir"),
        ("[maildrop]\nlocks = []", "maildrop.locks"),
        ("[maildrop]\nlocks = [\"fcntl\", \"fcntl\"]", "maildrop.locks"),
        ("[auth]\nsources = []", "auth.sources"),
        ("[auth]\nsecrets = \"x\"", "auth.secrets"),
        ("[auth]\nkey = \"x\"", "auth.key"),
        ("[auth]\nannounce = \"none\"", "auth.announce"),
        ("[auth]\nannounce = 7", "auth.announce"),
        ("[auth]\nannounce = [\"PLAIN\"]", "auth.announce"),
        ("[auth]\nannounce = [\"APOP\", \"APOP\"]", "auth.announce"),
        ("[auth]\nsources = [\"unix\"]\nannounce = [\"APOP\"]", "auth.announce"),
        ("[auth]\nfailure_delay = 31", "auth.failure_delay"),
        ("[auth]\nfailure_delay = 9\n[limits]\nlogin_timeout = 9", "auth.failure_delay"),
        ("[limits]\nmax_verifications = 5000", "limits.max_verifications"),
        ("[limits]\nmax_message = 10", "limits.max_message"),
        ("[limits]\nmax_errors = 0", "limits.max_errors"),
        ("[limits]\nmax_refusals = 1001", "limits.max_refusals"),
        ("[limits]\nmax_memory = 1000000", "limits.max_memory"),
        ("[limits]\nmax_login_memory = 0", "limits.max_login_memory"),
        ("[xtnd]\nsendmail = \"sendmail -t\"", "xtnd.sendmail"),
    ] {
        let said = fault(text);
        assert!(said.contains(&format!(": {key}: ")), "{text}: {said}");
    }
    assert!(fault("[limits]\nidle_timeout = -1").contains("limits.idle_timeout"));
}

/// Design, section 7: the secrets are below `state_dir` unless set, and an ordinary user's key too.
#[test]
fn secrets_follow_the_state_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pop3d.toml");
    std::fs::write(&path, "state_dir = \"/srv/pop\"").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let config = Config::load(Some(&path)).unwrap();
    assert_eq!(config.auth.secrets, Path::new("/srv/pop/auth/mailauth.db"));
    let root = crate::sys::privileges::is_root();
    let key = if root { "/etc/poptools/mailauth.key" } else { "/srv/pop/mailauth.key" };
    assert_eq!(config.auth.key, Path::new(key));
}

#[test]
fn templates_know_their_placeholders() {
    for wrong in ["mail/{user}", "/var/{usr}", "/var/{user", "/var/user}", "/var/{home}", "", "/a/../{user}"]
    {
        assert!(Template::parse(wrong).is_err(), "{wrong}");
    }
    for one in ["/var/mail", "/var/mail/{domain}", "/var/mail/{user:1}/{user:2}"] {
        assert!(Template::parse(one).unwrap_err().contains("one mailbox for all"), "{one}");
    }
    for directory in ["/var/mail/{user}/", "{home}/", "{home}"] {
        assert!(Template::parse(directory).unwrap_err().contains("names a directory"), "{directory}");
    }
    let expand = |text: &str, user: &str| {
        Template::parse(text).unwrap().expand(user, Path::new("/home/ann")).to_str().unwrap().to_owned()
    };
    assert_eq!(expand("/var/mail/{user}", "ann"), "/var/mail/ann");
    assert_eq!(expand("/m/{user:1}/{user:2}/{user}", "ann"), "/m/a/an/ann");
    assert_eq!(expand("/m/{user:2}/{user}", "a"), "/m/a/a");
    assert_eq!(expand("{home}/mbox", "ann"), "/home/ann/mbox");
    assert_eq!(expand("/m/{domain}/{local}", "ann@example.org"), "/m/example.org/ann");
    assert_eq!(expand("/m/{domain}/{local}", "ann"), "/m/_/ann");
    assert_eq!(expand("/m/{domain}/{local}", "ann@.."), "/m/_./ann", "design, section 4: no way up");
}

#[test]
fn the_spool_is_the_fixed_directory() {
    let spool = |text: &str| Template::parse(text).unwrap().spool().map(Path::to_owned);
    assert_eq!(spool("/var/mail/{user}"), Some("/var/mail".into()));
    assert_eq!(spool("/var/mail/x{user}"), Some("/var/mail".into()));
    assert_eq!(spool("/{user}"), Some("/".into()));
    assert_eq!(spool("{home}/mbox"), None);
}

#[test]
fn a_named_file_must_exist_and_be_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.toml");
    let error = Config::load(Some(&path)).unwrap_err().to_string();
    assert_eq!(error, format!("cannot read {}: No such file or directory", path.display()));
    assert!(Config::load(Some(directory.path())).unwrap_err().to_string().contains("not a regular file"));
    let link = directory.path().join("link.toml");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(Config::load(Some(&link)).unwrap_err().to_string().contains("leads nowhere"));
}

#[test]
fn root_refuses_a_file_that_others_may_write() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pop3d.toml");
    std::fs::write(&path, "shy = true").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Config::load(Some(&path)).unwrap().shy);
    if !crate::sys::privileges::is_root() {
        eprintln!("not root: the owner and mode of the file are not looked at");
        return;
    }
    for mode in [0o664, 0o646] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(Config::load(Some(&path)).unwrap_err().to_string().contains("may be written by others"));
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
    assert!(Config::load(Some(&path)).unwrap_err().to_string().contains("belongs to uid 65534"));
    std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    for (mode, good) in [(0o777, false), (0o775, false), (0o1777, true), (0o755, true)] {
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let read = Config::load(Some(&path)).map_err(|error| error.to_string());
        assert_eq!(read.is_ok(), good, "who can replace the file: {mode:o}: {read:?}");
        assert!(read.err().is_none_or(|error| error.contains("can be replaced")));
    }
}

proptest::proptest! {
    #[test]
    fn no_name_leads_out_of_the_spool(name in "[A-Za-z0-9._+@=-]{1,64}") {
        for text in ["/var/mail/{user}", "/m/{domain}/{local}", "/m/{user:1}/{user:2}/.{local}."] {
            let template = Template::parse(text).unwrap();
            let path = template.expand(&name, Path::new("/h"));
            let depth = text.matches('/').count();
            assert_eq!(path.components().count(), depth + 1, "{path:?}");
            assert!(path.components().all(|part| part != std::path::Component::ParentDir), "{path:?}");
        }
    }
}

#[test]
fn tls_needs_what_belongs_together() {
    let pair = "certificate = \"/c.pem\"\nkey = \"/k.pem\"\n";
    let more = format!(
        "[tls]\n{pair}min_version = \"1.3\"\n[[tls.certificates]]\n{pair}[listen]\npop3s = [\"995\"]\n"
    );
    let config = Config::parse(&more, Path::new("f")).unwrap();
    assert_eq!(config.tls.min_version, TlsVersion::V1_3);
    assert_eq!(config.tls.pairs().len(), 2);
    assert!(fault("[tls]\ncertificate = \"/c.pem\"").contains("tls.key: certificate and key go together"));
    assert!(fault("[listen]\npop3s = [\"995\"]").contains("listen.pop3s: needs certificate and key"));
    assert!(
        fault(&format!("[[tls.certificates]]\n{pair}")).contains("needs certificate and key under [tls]")
    );
    assert!(fault("[tls]\nclient_ca = \"/ca.pem\"").contains("needs certificate and key"));
    assert!(fault(&format!("[tls]\n{}", pair.replace("/c", "c"))).contains("does not begin with /"));
    assert!(fault("[tls]\nmin_version = \"1.1\"").contains("no version of TLS that is safe"));
}
