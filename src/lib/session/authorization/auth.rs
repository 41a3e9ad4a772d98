//! AUTH (RFC 5034): which mechanisms, and the lines of an exchange.

use super::{Authorization, Effect, Setup};
use crate::protocol::command::Hidden;
use crate::protocol::line::Line;
use crate::protocol::reply::Reply;
use crate::protocol::sasl::{self, Mechanism, Mechanisms, scram};
use crate::session::exchange::{Exchange, Step, Surroundings};

impl Authorization {
    /// SCRAM: salt and iterations of the name.
    pub fn salted(&mut self, salt: &[u8], iterations: u32) -> Effect {
        let nonce = self.nonce();
        match self.exchange.as_mut().and_then(|exchange| exchange.salted(&nonce, salt, iterations)) {
            Some(message) => Effect::Challenge(message),
            None => self.faulty("Authentication failed, try again."),
        }
    }

    /// SCRAM: the proof is right; the server's signature goes to the client, who has the last word.
    pub fn proven(&mut self, signature: &[u8]) -> Effect {
        match self.exchange.as_mut() {
            Some(exchange) => {
                exchange.proven();
                Effect::Challenge(scram::final_message(signature).into_bytes())
            }
            None => self.faulty("Authentication failed, try again."),
        }
    }

    /// AUTH alone: the names of the mechanisms. No RFC has it, and clients ask.
    pub(super) fn list(&self) -> Effect {
        let names: Vec<String> = self.offered().iter().map(|mechanism| mechanism.name().to_owned()).collect();
        Effect::Lines(Reply::ok("Mechanisms follow."), names)
    }

    pub(super) fn auth(&mut self, name: &str, initial: Option<Hidden<'_>>) -> Effect {
        let Some(mechanism) = Mechanism::parse(name) else {
            return Effect::Reply(Reply::err("This server has no mechanism of that name."));
        };
        if !self.offered().has(mechanism) {
            return Effect::Reply(match mechanism {
                Mechanism::Plain => self.plaintext_refused(),
                _ => Reply::err(format!("{} is not offered on this connection.", mechanism.name())),
            });
        }
        let nonce = self.nonce();
        let (exchange, challenge) = Exchange::begin(mechanism, &self.surroundings(nonce));
        match initial {
            None => {
                self.exchange = Some(exchange);
                Effect::Challenge(challenge)
            }
            Some(_) if !exchange.takes_initial() => self.faulty("This mechanism begins with a challenge."),
            // RFC 5034, section 4: an equals sign is an empty response.
            Some(Hidden(b"=")) => self.receive(exchange, &[]),
            Some(Hidden(line)) => self.receive_line(exchange, line),
        }
    }

    /// A line of the client's in an exchange.
    pub(super) fn answer(&mut self, exchange: Exchange, line: Line<'_>) -> Effect {
        match line {
            Line::TooLong => self.faulty("Line too long: at most 12288 octets are allowed here."),
            // RFC 5034, section 4: not counted as a fault, and not as a refusal.
            Line::Complete(b"*") => Effect::Reply(Reply::err("Authentication cancelled.")),
            Line::Complete(line) => self.receive_line(exchange, line),
        }
    }

    fn receive_line(&mut self, exchange: Exchange, line: &[u8]) -> Effect {
        match sasl::decode(line) {
            Some(message) => self.receive(exchange, &message),
            None => self.faulty("This is not base64."),
        }
    }

    fn receive(&mut self, mut exchange: Exchange, message: &[u8]) -> Effect {
        let step = exchange.receive(message, &self.surroundings(String::new()));
        let mechanism = exchange.mechanism();
        match step {
            Step::Verify(login) => {
                self.probed = None;
                self.exchange = Some(exchange);
                Effect::Verify(login)
            }
            Step::Proceed => Effect::Proceed,
            Step::Reject(shown, why) => Effect::Reject(shown, mechanism, why),
            Step::Malformed => self.faulty("This is no message of the mechanism."),
        }
    }

    fn surroundings(&self, nonce: String) -> Surroundings<'_> {
        let plus_offered = self.offered().has(Mechanism::ScramSha256Plus);
        Surroundings { host: &self.setup.host, tls: self.setup.tls.as_ref(), plus_offered, nonce }
    }

    fn nonce(&mut self) -> String {
        self.challenges += 1;
        scram::nonce(&self.setup.seed, self.challenges)
    }

    /// What works on this connection for somebody.
    pub(super) fn offered(&self) -> Mechanisms {
        use Mechanism::{CramMd5, External, Plain, ScramSha256, ScramSha256Plus};
        let Setup { mechanisms, tls, plaintext_allowed, .. } = &self.setup;
        let binds = tls.as_ref().is_some_and(|tls| tls.exporter.is_some() || tls.end_point.is_some());
        let named = tls.as_ref().is_some_and(|tls| tls.client_name.is_some());
        Mechanisms::NONE
            .with_if(named, External)
            .with_if(binds && mechanisms.has(ScramSha256Plus), ScramSha256Plus)
            .with_if(mechanisms.has(ScramSha256), ScramSha256)
            .with_if(mechanisms.has(CramMd5), CramMd5)
            .with_if(*plaintext_allowed, Plain)
    }
}

#[cfg(test)]
mod tests;
