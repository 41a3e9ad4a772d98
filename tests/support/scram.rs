//! bob's secret in the database, and a client of SCRAM that does as it is told.

#![allow(dead_code)]

use super::common::client::text;
use super::common::world::{QUICK_HASH, Setup};
use super::common::{World, run};
use hmac::{Hmac, KeyInit, Mac};
use poptools::protocol::sasl::{decode, encode};
use sha2::{Digest, Sha256};
use std::process::Command;

/// bob's secret, for all mechanisms but PLAIN; ann has a UNIX password.
pub(crate) const SECRET: &str = "tanstaaf-7c1e";

/// A world that can keep secrets, and more lines for `[auth]`.
pub(crate) fn setup(config: &str) -> Setup {
    let auth = format!("[auth]\nkey = \"/run/lib/keys/mailauth.key\"\n{config}\n");
    World::setup().user_with_uid("pop", 20_998, "!").user("carol", QUICK_HASH).config(&auth)
}

/// Makes the database, with bob in it.
pub(crate) fn keep_secret(world: &World) {
    for (line, input) in [("init", ""), ("add bob --stdin", SECRET)] {
        let script = format!("printf %s '{input}' | \"$0\" --config \"$1\" {line}");
        let output =
            run(Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_mailauth")]).arg(&world.config));
        assert!(output.status.success(), "mailauth {line}: {}", text(&output.stderr));
    }
}

/// What stands behind the `+ ` of a challenge.
pub(crate) fn challenge(line: &str) -> &str {
    line.strip_prefix("+ ").unwrap_or_else(|| panic!("no challenge: {line}"))
}

/// A client of SCRAM-SHA-256 (RFC 5802, section 5), with the library's own verifier turned round.
pub(crate) struct Scram<'a> {
    /// What the client says of channel binding, such as `n,,`.
    pub(crate) flag: &'a str,
    /// What it binds to.
    pub(crate) binding: Vec<u8>,
    pub(crate) user: &'a str,
    pub(crate) secret: &'a str,
}

impl Scram<'_> {
    /// The first message, in base64.
    pub(crate) fn first(&self) -> String {
        encode(format!("{}{}", self.flag, self.bare()).as_bytes())
    }

    /// The answer to the line with the server's first message, in base64.
    pub(crate) fn last(&self, line: &str) -> String {
        let answer = text(&decode(challenge(line).as_bytes()).unwrap());
        let parts: Vec<&str> = answer.split(',').map(|part| &part[2..]).collect();
        let mut salted = [0; 32];
        let salt = decode(parts[1].as_bytes()).unwrap();
        pbkdf2::pbkdf2_hmac::<Sha256>(self.secret.as_bytes(), &salt, parts[2].parse().unwrap(), &mut salted);
        let mut proof = hmac(&salted, b"Client Key");
        let bound = encode(&[self.flag.as_bytes(), &self.binding].concat());
        let without_proof = format!("c={bound},r={}", parts[0]);
        let said = format!("{},{answer},{without_proof}", self.bare());
        let mask = hmac(&Sha256::digest(proof), said.as_bytes());
        proof.iter_mut().zip(mask).for_each(|(octet, mask)| *octet ^= mask);
        encode(format!("{without_proof},p={}", encode(&proof)).as_bytes())
    }

    fn bare(&self) -> String {
        format!("n={},r=abc", self.user)
    }
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().into()
}
