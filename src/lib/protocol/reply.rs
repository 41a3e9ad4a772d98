//! One-line replies.

use super::language::Language;

/// The longest reply in octets, CRLF included (RFC 1939, section 3).
pub const MAX_REPLY: usize = 512;

/// Response codes (RFC 2449, section 8; RFC 3206; RFC 6856, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Another session holds the maildrop.
    InUse,
    /// Logged in too often.
    LoginDelay,
    /// A fault that may pass.
    SysTemp,
    /// A fault that somebody has to mend.
    SysPerm,
    /// The credentials are wrong.
    Auth,
    /// The maildrop needs UTF-8 mode.
    Utf8,
}

impl Code {
    /// The code with its brackets.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "[IN-USE]",
            Self::LoginDelay => "[LOGIN-DELAY]",
            Self::SysTemp => "[SYS/TEMP]",
            Self::SysPerm => "[SYS/PERM]",
            Self::Auth => "[AUTH]",
            Self::Utf8 => "[UTF8]",
        }
    }
}

/// One line: `+OK` or `-ERR`, and a text. Whatever text it is made of, it stays one line of printable ASCII, at
/// most 512 octets with its CRLF (RFC 1939, section 3). Our own words in another language are UTF-8 (RFC 6856, section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    status: &'static str,
    text: String,
}

impl Reply {
    /// `+OK text`.
    pub fn ok(text: impl AsRef<str>) -> Self {
        Self::new("+OK", text.as_ref())
    }

    /// `-ERR text`, without a response code.
    pub fn err(text: impl AsRef<str>) -> Self {
        Self::new("-ERR", text.as_ref())
    }

    /// `-ERR [CODE] text`.
    pub fn coded(code: Code, text: impl AsRef<str>) -> Self {
        Self::new("-ERR", &format!("{} {}", code.as_str(), text.as_ref()))
    }

    /// `-ERR text` for a text that already begins with its response code, if it has one.
    pub fn err_text(text: String) -> Self {
        Self::err(text)
    }

    /// Whether it is `+OK`.
    pub fn is_ok(&self) -> bool {
        self.status == "+OK"
    }

    /// What stands behind the status, response code included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same in another language.
    #[must_use]
    pub fn in_language(&self, language: Language) -> Self {
        let mut text = language.translate(&self.text);
        text.truncate(text.floor_char_boundary(MAX_REPLY - self.status.len() - " \r\n".len()));
        Self { status: self.status, text }
    }

    /// Appends the line with its CRLF.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.status.as_bytes());
        if !self.text.is_empty() {
            out.push(b' ');
            out.extend_from_slice(self.text.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    fn new(status: &'static str, text: &str) -> Self {
        let room = MAX_REPLY - status.len() - " \r\n".len();
        Self { status, text: text.chars().map(printable).take(room).collect() }
    }
}

/// A character that may stand on the wire: itself, or `?` for controls and what is not ASCII.
const fn printable(character: char) -> char {
    if character.is_ascii_graphic() || character == ' ' { character } else { '?' }
}

/// Client bytes as they may be shown: printable ASCII, `?` for the rest.
pub fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|&octet| printable(char::from(octet))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// RFC 1939, section 3: status indicator, text, CRLF.
    #[test]
    fn a_reply_is_one_line() {
        assert_eq!(wire(&Reply::ok("2 320")), "+OK 2 320\r\n");
        assert_eq!(wire(&Reply::ok("")), "+OK\r\n");
        assert_eq!(wire(&Reply::err("No.")), "-ERR No.\r\n");
        assert!(Reply::ok("").is_ok() && !Reply::err("").is_ok());
    }

    /// RFC 2449, section 8; RFC 3206, sections 4 and 5: the code stands first, in brackets.
    #[test]
    fn a_response_code_stands_first() {
        assert_eq!(wire(&Reply::coded(Code::InUse, "Busy.")), "-ERR [IN-USE] Busy.\r\n");
        assert_eq!(wire(&Reply::err_text("[SYS/TEMP] Later.".to_owned())), "-ERR [SYS/TEMP] Later.\r\n");
        let codes = [Code::LoginDelay, Code::SysTemp, Code::SysPerm, Code::Auth, Code::Utf8];
        let texts = codes.map(Code::as_str);
        assert_eq!(texts, ["[LOGIN-DELAY]", "[SYS/TEMP]", "[SYS/PERM]", "[AUTH]", "[UTF8]"]);
    }

    /// RFC 1939, section 3: at most 512 characters with CRLF.
    #[test]
    fn a_reply_has_at_most_512_octets() {
        assert_eq!(wire(&Reply::ok("x".repeat(600))).len(), 512);
        assert_eq!(wire(&Reply::err("\u{e9}".repeat(600))).len(), 512);
        assert_eq!(wire(&Reply::coded(Code::SysTemp, "x".repeat(600))).len(), 512);
    }

    /// Design, section 3: nothing can split a reply into two lines.
    #[test]
    fn no_control_byte_gets_in() {
        assert_eq!(wire(&Reply::ok("a\r\n-ERR b\0\u{7f}\u{1b}\u{85}")), "+OK a??-ERR b????\r\n");
        assert_eq!(shown(b"an\xffn\t"), "an?n?");
    }
}
