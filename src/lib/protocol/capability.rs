//! What CAPA announces (RFC 2449). What does not work is not announced.

use super::greeting::VERSION;
use super::sasl::Mechanisms;

/// What this server offers to this client.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// USER and PASS are allowed on this connection.
    pub plaintext_allowed: bool,
    /// XTND XLST is switched on.
    pub xlst: bool,
    /// XTND XMIT is switched on.
    pub xmit: bool,
    /// Product and version are hidden.
    pub shy: bool,
    /// What AUTH takes on this connection.
    pub mechanisms: Mechanisms,
    /// STLS can be used now: before login, on a connection in the clear (RFC 2595, section 4).
    pub stls: bool,
    /// The time between two logins (RFC 2449, section 6.5); `None`: there is none.
    pub login_delay: Option<LoginDelay>,
}

/// What LOGIN-DELAY says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginDelay {
    /// Seconds from a login to the next one.
    pub seconds: u64,
    /// Nobody has logged in, and some users have another: `seconds` is the longest.
    pub varies: bool,
}

/// The answer's lines, without CRLF and without the final `.` line. But for STLS and LOGIN-DELAY they are the same before and after
/// login: RFC 2449, section 6 allows no difference for any of these, and some clients ask only once for UIDL.
pub fn lines(offer: &Offer) -> Vec<String> {
    let mut lines = vec!["TOP".to_owned()];
    if offer.plaintext_allowed {
        lines.push("USER".to_owned());
    }
    lines.extend(sasl(offer.mechanisms));
    lines.extend(
        ["PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "EXPIRE NEVER", "UIDL", "UTF8", "LANG"]
            .map(str::to_owned),
    );
    if let Some(LoginDelay { seconds, varies }) = offer.login_delay {
        lines.push(format!("LOGIN-DELAY {seconds}{}", if varies { " USER" } else { "" }));
    }
    if offer.stls {
        lines.push("STLS".to_owned());
    }
    if !offer.shy {
        lines.push(format!("IMPLEMENTATION poptools-{VERSION}"));
    }
    lines.extend(extensions(offer));
    lines
}

/// `SASL` with the mechanisms (RFC 5034, section 3), the strongest first, when there are any.
fn sasl(mechanisms: Mechanisms) -> Option<String> {
    let names: String = mechanisms.iter().map(|mechanism| format!(" {}", mechanism.name())).collect();
    (!names.is_empty()).then(|| format!("SASL{names}"))
}

/// `X-XTND`, with the extensions that are switched on.
fn extensions(offer: &Offer) -> Option<String> {
    let names = [(offer.xlst, " XLST"), (offer.xmit, " XMIT")];
    let on: String = names.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
    (!on.is_empty()).then(|| format!("X-XTND{on}"))
}

#[cfg(test)]
mod tests {
    use super::super::sasl::Mechanism;
    use super::*;

    const ALL: Offer = Offer {
        plaintext_allowed: true,
        xlst: true,
        xmit: true,
        shy: false,
        mechanisms: Mechanisms::NONE.with(Mechanism::Plain).with(Mechanism::ScramSha256),
        stls: false,
        login_delay: None,
    };

    /// RFC 2449, section 6; RFC 3206, section 6; RFC 5034, section 3; RFC 6856, sections 2 and 3. Names are ASCII
    /// (design, section 4), so `UTF8` has no `USER`.
    #[test]
    fn what_works_is_announced() {
        let version = format!("IMPLEMENTATION poptools-{VERSION}");
        let expected = [
            "TOP",
            "USER",
            "SASL SCRAM-SHA-256 PLAIN",
            "PIPELINING",
            "RESP-CODES",
            "AUTH-RESP-CODE",
            "EXPIRE NEVER",
            "UIDL",
            "UTF8",
            "LANG",
            &version,
            "X-XTND XLST XMIT",
        ];
        assert_eq!(lines(&ALL), expected);
    }

    /// RFC 2449, section 6.2 (USER), section 6.9 (IMPLEMENTATION); design, section 3.
    #[test]
    fn what_is_off_is_not_announced() {
        let mechanisms = Mechanisms::NONE;
        let none = lines(&Offer {
            plaintext_allowed: false,
            xlst: false,
            xmit: false,
            shy: true,
            mechanisms,
            stls: false,
            login_delay: None,
        });
        assert_eq!(none.join(","), "TOP,PIPELINING,RESP-CODES,AUTH-RESP-CODE,EXPIRE NEVER,UIDL,UTF8,LANG");
        assert!(lines(&Offer { xmit: false, ..ALL }).contains(&"X-XTND XLST".to_owned()));
        assert!(lines(&Offer { xlst: false, ..ALL }).contains(&"X-XTND XMIT".to_owned()));
    }

    /// RFC 2595, section 4.
    #[test]
    fn stls_is_announced_where_it_can_be_used() {
        assert!(lines(&Offer { stls: true, ..ALL }).contains(&"STLS".to_owned()));
        assert!(!lines(&ALL).contains(&"STLS".to_owned()));
    }

    /// RFC 2449, section 6.5.
    #[test]
    fn the_time_between_logins_is_announced() {
        let says = |seconds, varies| {
            let login_delay = Some(LoginDelay { seconds, varies });
            let lines = lines(&Offer { login_delay, ..ALL });
            lines.into_iter().find(|line| line.starts_with("LOGIN-DELAY")).unwrap()
        };
        assert_eq!(says(60, false), "LOGIN-DELAY 60");
        assert_eq!(says(900, true), "LOGIN-DELAY 900 USER");
        assert!(!lines(&ALL).iter().any(|line| line.starts_with("LOGIN-DELAY")), "where there is none");
    }

    /// RFC 2449, section 4: a capability line has at most 512 octets with CRLF.
    #[test]
    fn capability_lines_are_short() {
        assert!(lines(&ALL).iter().all(|line| line.len() + 2 <= 512));
    }
}
