//! The first and the last words.

use super::reply::Reply;

/// This package's version, as greeting and IMPLEMENTATION show it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The greeting (design, section 3). `challenge` is the APOP challenge with its angle brackets (RFC 1939,
/// section 7); `shy` hides product and version.
pub fn greeting(host: &str, shy: bool, challenge: Option<&str>) -> Reply {
    let product =
        if shy { "POP3 server".to_owned() } else { format!("poptools POP3 server (version {VERSION})") };
    match challenge {
        Some(challenge) => Reply::ok(format!("{product} at {host} starting. {challenge}")),
        None => Reply::ok(format!("{product} at {host} starting.")),
    }
}

/// The farewell, in the original's words.
pub fn farewell(host: &str) -> Reply {
    Reply::ok(format!("Pop server at {host} signing off."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Design, section 3.
    #[test]
    fn the_greeting_follows_the_original() {
        assert_eq!(
            greeting("mx.example", false, None).text(),
            format!("poptools POP3 server (version {VERSION}) at mx.example starting.")
        );
        let challenged = greeting("mx.example", false, Some("<1@mx.example>"));
        assert!(challenged.text().ends_with(" at mx.example starting. <1@mx.example>"));
        assert_eq!(farewell("mx.example").text(), "Pop server at mx.example signing off.");
    }

    /// Design, section 3: `shy` hides product and version.
    #[test]
    fn a_shy_greeting_names_no_product() {
        assert_eq!(greeting("mx", true, None).text(), "POP3 server at mx starting.");
    }
}
