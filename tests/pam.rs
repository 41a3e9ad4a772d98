//! The source `pam` (pop3d.toml(5)), with real stacks in an `/etc/pam.d` of the test's own. Built with `--features pam` alone.

mod common;

use common::machine::{Mounts, make_directory, write};
use common::world::{FIRST_UID, QUICK_HASH, uid};
use common::{PASSWORD, World, eventually, isolated};
use std::fs;
use std::path::Path;

/// A world whose source is PAM with this service file.
fn with_service(service: &str, config: &str, test: impl FnOnce(&World) + Send) {
    isolated(|| {
        let world = World::setup()
            .user("own", "!")
            .user_with_uid("low", 20_500, QUICK_HASH)
            .user("expired", QUICK_HASH)
            .config(&format!(
                "[auth]\nsources = [\"pam\"]\nmin_uid = {FIRST_UID}\nfailure_delay = 0\n{config}"
            ))
            .start();
        let services = world.directory().join("pam.d");
        make_directory(&services, 0o755);
        write(&services.join("pop3d"), service.as_bytes(), 0o644);
        write(&services.join("other"), b"auth required pam_deny.so\naccount required pam_deny.so\n", 0o644);
        let mut mounts = Mounts::default();
        mounts.bind(&services, Path::new("/etc/pam.d"));
        for user in ["ann", "low", "expired"] {
            world.maildrop(user, b"");
        }
        test(&world);
        drop(mounts);
    });
}

fn told(world: &World, user: &str, password: &str) -> String {
    world.connect().login(user, password)
}

/// Passwords and accounts of passwd and shadow.
const UNIX: &str = "auth required pam_unix.so\naccount required pam_unix.so\n";

#[test]
fn pam_unix_decides() {
    with_service(UNIX, "", |world| {
        // Account expired long ago (shadow(5), field 8).
        let shadow = fs::read_to_string("/etc/shadow").unwrap();
        let expired = format!("expired:{QUICK_HASH}:");
        let line = shadow.lines().find(|line| line.starts_with(&expired)).unwrap();
        let changed = shadow.replace(line, &format!("{expired}20000:0:99999:7::100:"));
        fs::write("/etc/shadow", changed).unwrap();
        assert!(told(world, "ann", PASSWORD).starts_with("+OK"));
        world.log_line(&["login:", "user=ann"]);
        let wrong = told(world, "ann", "wrong");
        assert!(wrong.starts_with("-ERR [AUTH]"), "{wrong}");
        world.log_line(&["refused:", "user=ann", "reason=wrong-password"]);
        assert_eq!(told(world, "nobody-at-all", "x"), wrong.replace("ann", "nobody-at-all"));
        assert_eq!(told(world, "expired", PASSWORD), wrong.replace("ann", "expired"));
        world.log_line(&["refused:", "user=expired", "reason=pam:acct-expired"]);
        // Root and uids below min_uid: PAM is not even asked.
        for user in ["root", "low"] {
            assert_eq!(told(world, user, PASSWORD), wrong.replace("ann", user));
            world.log_line(&["refused:", &format!("user={user}"), "reason=below-min-uid"]);
        }
    });
}

#[test]
fn permit_and_deny() {
    with_service("auth required pam_permit.so\naccount required pam_permit.so\n", "", |world| {
        assert!(told(world, "ann", "anything").starts_with("+OK"));
        // Whom the system does not know, and there is no owner for.
        assert!(told(world, "virtual", "anything").starts_with("-ERR [SYS/PERM]"));
        world.log_line(&["error:", "auth.virtual_owner is not set"]);
    });
    with_service("auth required pam_deny.so\naccount required pam_permit.so\n", "", |world| {
        assert!(told(world, "ann", PASSWORD).starts_with("-ERR [AUTH]"));
        world.log_line(&["refused:", "user=ann", "reason=wrong-password"]);
    });
    with_service("auth required pam_permit.so\naccount required pam_deny.so\n", "", |world| {
        assert!(told(world, "ann", PASSWORD).starts_with("-ERR [AUTH]"));
        world.log_line(&["refused:", "user=ann", "reason=pam:"]);
    });
}

#[test]
fn a_virtual_user_has_the_owners_ids() {
    let permit = "auth required pam_permit.so\naccount required pam_permit.so\n";
    with_service(permit, "virtual_owner = \"own\"\n", |world| {
        let path = world.mailbox("virtual");
        write(&path, b"", 0o600);
        std::os::unix::fs::chown(&path, Some(uid("own")), Some(uid("own"))).unwrap();
        let answer = told(world, "virtual", "anything");
        assert!(answer.starts_with("+OK"), "{answer}");
    });
}

/// Modules see where the client comes from, and what they start is ended with them when they hang.
#[test]
fn a_module_that_hangs_is_ended_with_its_children() {
    let service = "auth required pam_exec.so expose_authtok /run/module\naccount required pam_permit.so\n";
    with_service(service, "[limits]\nlogin_timeout = 20\n", |world| {
        let module = "#!/bin/sh\nenv >/run/environment\ncat >/run/password\necho $$ >/run/pid\n\
                      [ \"$PAM_USER\" = ann ] && exit 0\nsetsid sleep 600 & echo $! >/run/pid\nwait\n";
        write(Path::new("/run/module"), module.as_bytes(), 0o755);
        assert!(told(world, "ann", PASSWORD).starts_with("+OK"));
        let environment = fs::read_to_string("/run/environment").unwrap();
        assert!(environment.contains("PAM_RHOST=127.0.0.1"), "{environment}");
        assert!(environment.contains("PAM_SERVICE=pop3d"), "{environment}");
        assert!(!environment.contains(PASSWORD), "{environment}");
        world.maildrop("bob", b"");
        let said = told(world, "bob", PASSWORD);
        assert!(said.starts_with("-ERR [SYS/TEMP]"), "{said}");
        let pid = fs::read_to_string("/run/pid").unwrap();
        let process = format!("/proc/{}", pid.trim());
        eventually("the module's child is gone", || (!Path::new(&process).exists()).then_some(()));
    });
}

/// RFC 3206: what somebody has to mend is no wrong password.
#[test]
fn a_missing_module_is_not_the_users_fault() {
    with_service("auth required pam_no_such_module.so\n", "", |world| {
        let said = told(world, "ann", PASSWORD);
        assert!(said.starts_with("-ERR [SYS/TEMP]"), "{said}");
        world.log_line(&["error:", "PAM, service pop3d: module-unknown"]);
    });
}

/// Modules have nothing of the server's, and limits (pop3d.toml(5), `max_memory`).
#[test]
fn modules_have_limits() {
    let script = "/run/lib/limits";
    let service = format!("auth required pam_exec.so quiet {script}\naccount required pam_permit.so\n");
    with_service(&service, "[limits]\nmax_memory = 200000000\n", |world| {
        write(Path::new(script), b"#!/bin/sh\ncat /proc/self/limits >/run/lib/limits.seen\nexit 1\n", 0o755);
        assert!(told(world, "ann", PASSWORD).starts_with("-ERR"));
        common::processes::assert_limited(&fs::read_to_string("/run/lib/limits.seen").unwrap(), 200_000_000);
    });
}
