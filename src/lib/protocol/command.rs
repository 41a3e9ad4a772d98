//! What clients may say: the grammar of commands.

use super::MsgNo;
use super::name::MAX_NAME;
use super::reply::Reply;
use std::fmt;

/// The longest argument in octets (RFC 1939, section 3), but for names, passwords and SASL data.
pub const MAX_ARGUMENT: usize = 40;

/// Client bytes that must not be shown: a password, or SASL data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hidden<'a>(pub &'a [u8]);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}

/// One command. Names and headers are as the client wrote them, within the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `USER name` (RFC 1939, section 7): 1 to 64 octets without space or control byte.
    User(&'a [u8]),
    /// `PASS string` (RFC 1939, section 7): everything behind the first space.
    Pass(Hidden<'a>),
    /// `APOP name digest` (RFC 1939, section 7).
    Apop {
        /// The name, as with USER.
        user: &'a [u8],
        /// The MD5 digest.
        digest: [u8; 16],
    },
    /// `AUTH [mechanism [initial-response]]` (RFC 5034, section 4).
    Auth {
        /// The mechanism's name; `None` asks which there are.
        mechanism: Option<&'a str>,
        /// What the client says first, in base64.
        initial: Option<Hidden<'a>>,
    },
    /// `STAT` (RFC 1939, section 5).
    Stat,
    /// `LIST [message]` (RFC 1939, section 5).
    List(Option<MsgNo>),
    /// `RETR message` (RFC 1939, section 5).
    Retr(MsgNo),
    /// `DELE message` (RFC 1939, section 5).
    Dele(MsgNo),
    /// `NOOP` (RFC 1939, section 5).
    Noop,
    /// `RSET` (RFC 1939, section 5).
    Rset,
    /// `TOP message lines` (RFC 1939, section 7).
    Top {
        /// Which message.
        message: MsgNo,
        /// How many lines of its body.
        lines: u64,
    },
    /// `UIDL [message]` (RFC 1939, section 7).
    Uidl(Option<MsgNo>),
    /// `LAST` (RFC 1460, section 5).
    Last,
    /// `QUIT` (RFC 1939, sections 4 and 6).
    Quit,
    /// `CAPA` (RFC 2449, section 5).
    Capa,
    /// `STLS` (RFC 2595, section 4).
    Stls,
    /// `UTF8` (RFC 6856, section 2.1).
    Utf8,
    /// `LANG [tag]` (RFC 6856, section 3).
    Lang(Option<&'a str>),
    /// `XTND XMIT` (history).
    Xmit,
    /// `XTND XLST header [message]` (history; the manual page writes XLIST).
    Xlst {
        /// The header field's name.
        header: &'a str,
        /// Which message; `None` means all.
        message: Option<MsgNo>,
    },
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Nothing, or nothing but spaces.
    Empty,
    /// No command has this name.
    Unknown,
    /// A NUL or another control byte.
    Control,
    /// Longer than a command may be (RFC 2449, section 4).
    LineTooLong,
    /// An argument is missing; how the command is used.
    Missing(&'static str),
    /// An argument too many; how the command is used.
    Extra(&'static str),
    /// No message number where one has to be; how the command is used.
    Number(&'static str),
    /// An argument over its limit, or not of its form; how the command is used.
    Argument(&'static str),
}

impl Syntax {
    /// What the client is told. It repeats nothing of what the client sent.
    pub fn reply(self) -> Reply {
        match self {
            Self::Empty => Reply::err("A command is expected."),
            Self::Unknown => Reply::err("Unknown command."),
            Self::Control => Reply::err("Control characters are not allowed in commands."),
            Self::LineTooLong => Reply::err("Line too long: at most 255 octets are allowed."),
            Self::Missing(usage) => Reply::err(format!("Argument missing, usage: {usage}")),
            Self::Extra(usage) => Reply::err(format!("Too many arguments, usage: {usage}")),
            Self::Number(usage) => Reply::err(format!("Not a message number, usage: {usage}")),
            Self::Argument(usage) => Reply::err(format!("Malformed argument, usage: {usage}")),
        }
    }
}

/// Parses one line without its end. Keywords are of either case (RFC 1939, section 3). `PASS` keeps everything
/// behind the first space (RFC 1939, section 7). For the other commands several spaces count as one and spaces at
/// the end are dropped, since real clients send them.
///
/// # Errors
/// The line is no command; see [`Syntax`].
pub fn parse(line: &[u8]) -> Result<Command<'_>, Syntax> {
    if let Some(password) = password(line) {
        return password;
    }
    if line.iter().any(u8::is_ascii_control) {
        return Err(Syntax::Control);
    }
    let mut words = line.split(|&octet| octet == b' ').filter(|word| !word.is_empty());
    let keyword = words.next().ok_or(Syntax::Empty)?;
    if line.starts_with(b" ") {
        return Err(Syntax::Unknown);
    }
    let mut name = [0; 4];
    name.get_mut(..keyword.len()).ok_or(Syntax::Unknown)?.copy_from_slice(keyword);
    dispatch(name.to_ascii_uppercase().as_slice(), |usage| Arguments { words: words.clone(), usage })
}

/// `PASS` is not cut into words.
fn password(line: &[u8]) -> Option<Result<Command<'_>, Syntax>> {
    const USAGE: &str = "PASS password";
    let (keyword, rest) = line.split_at_checked(4)?;
    if !keyword.eq_ignore_ascii_case(b"PASS") {
        return None;
    }
    Some(match rest.split_first() {
        None | Some((b' ', [])) => Err(Syntax::Missing(USAGE)),
        // Password hashes of the system end at a NUL: a password with one would be taken for a shorter one.
        Some((b' ', password)) if password.contains(&0) => Err(Syntax::Control),
        Some((b' ', password)) => Ok(Command::Pass(Hidden(password))),
        Some(_) if rest.iter().any(u8::is_ascii_control) => Err(Syntax::Control),
        Some(_) => Err(Syntax::Unknown),
    })
}

fn dispatch<'a, W>(
    keyword: &[u8],
    arguments: impl Fn(&'static str) -> Arguments<W>,
) -> Result<Command<'a>, Syntax>
where
    W: Iterator<Item = &'a [u8]>,
{
    let alone = |usage, command| arguments(usage).end(command);
    match keyword {
        b"USER" => arguments("USER name").user(),
        b"APOP" => arguments("APOP name digest").apop(),
        b"AUTH" => arguments("AUTH mechanism [initial-response]").auth(),
        b"STAT" => alone("STAT", Command::Stat),
        b"LIST" => arguments("LIST [message]").optional(Command::List),
        b"RETR" => arguments("RETR message").message(Command::Retr),
        b"DELE" => arguments("DELE message").message(Command::Dele),
        b"NOOP" => alone("NOOP", Command::Noop),
        b"RSET" => alone("RSET", Command::Rset),
        b"TOP\0" => arguments("TOP message lines").top(),
        b"UIDL" => arguments("UIDL [message]").optional(Command::Uidl),
        b"LAST" => alone("LAST", Command::Last),
        b"QUIT" => alone("QUIT", Command::Quit),
        b"CAPA" => alone("CAPA", Command::Capa),
        b"STLS" => alone("STLS", Command::Stls),
        b"UTF8" => alone("UTF8", Command::Utf8),
        b"LANG" => arguments("LANG [language]").lang(),
        b"XTND" => arguments("XTND XMIT, or XTND XLST header [message]").xtnd(),
        _ => Err(Syntax::Unknown),
    }
}

/// The words behind the keyword, and how the command is used.
struct Arguments<W> {
    words: W,
    usage: &'static str,
}

impl<'a, W: Iterator<Item = &'a [u8]>> Arguments<W> {
    fn user(mut self) -> Result<Command<'a>, Syntax> {
        let name = self.name()?;
        self.end(Command::User(name))
    }

    fn apop(mut self) -> Result<Command<'a>, Syntax> {
        let user = self.name()?;
        let digest = digest(self.word()?).ok_or(Syntax::Argument(self.usage))?;
        self.end(Command::Apop { user, digest })
    }

    fn auth(mut self) -> Result<Command<'a>, Syntax> {
        let mechanism = self.words.next().map(|word| self.text(word)).transpose()?;
        let initial = self.words.next().map(Hidden);
        self.end(Command::Auth { mechanism, initial })
    }

    fn message(mut self, command: impl FnOnce(MsgNo) -> Command<'a>) -> Result<Command<'a>, Syntax> {
        let word = self.word()?;
        let message = self.number(word)?;
        self.end(command(message))
    }

    fn optional(mut self, command: impl FnOnce(Option<MsgNo>) -> Command<'a>) -> Result<Command<'a>, Syntax> {
        let message = self.words.next().map(|word| self.number(word)).transpose()?;
        self.end(command(message))
    }

    fn top(mut self) -> Result<Command<'a>, Syntax> {
        let word = self.word()?;
        let message = self.number(word)?;
        let lines = decimal(self.word()?).ok_or(Syntax::Argument(self.usage))?;
        self.end(Command::Top { message, lines })
    }

    fn lang(mut self) -> Result<Command<'a>, Syntax> {
        let tag = self.words.next().map(|word| self.text(word)).transpose()?;
        self.end(Command::Lang(tag))
    }

    fn xtnd(mut self) -> Result<Command<'a>, Syntax> {
        let word = self.word()?;
        if word.eq_ignore_ascii_case(b"XMIT") {
            return self.end(Command::Xmit);
        }
        if !word.eq_ignore_ascii_case(b"XLST") && !word.eq_ignore_ascii_case(b"XLIST") {
            return Err(Syntax::Argument(self.usage));
        }
        let header = self.word()?;
        // A field's name has no colon (RFC 5322, section 2.2).
        let header = self.text(header).ok().filter(|header| !header.contains(':'));
        let header = header.ok_or(Syntax::Argument(self.usage))?;
        self.optional(|message| Command::Xlst { header, message })
    }

    /// The next word.
    fn word(&mut self) -> Result<&'a [u8], Syntax> {
        self.words.next().ok_or(Syntax::Missing(self.usage))
    }

    /// The next word as a user name. Whether it may become a path is not decided here: a client must not see
    /// the difference.
    fn name(&mut self) -> Result<&'a [u8], Syntax> {
        let name = self.word()?;
        if name.len() <= MAX_NAME { Ok(name) } else { Err(Syntax::Argument(self.usage)) }
    }

    fn number(&self, word: &[u8]) -> Result<MsgNo, Syntax> {
        let number = decimal(word).and_then(|number| u32::try_from(number).ok());
        number.and_then(MsgNo::new).ok_or(Syntax::Number(self.usage))
    }

    /// The word as printable ASCII.
    fn text(&self, word: &'a [u8]) -> Result<&'a str, Syntax> {
        let text = std::str::from_utf8(word).ok();
        text.filter(|text| text.is_ascii() && text.len() <= MAX_ARGUMENT).ok_or(Syntax::Argument(self.usage))
    }

    /// The command, when no word is left.
    fn end(mut self, command: Command<'a>) -> Result<Command<'a>, Syntax> {
        match self.words.next() {
            None => Ok(command),
            Some(_) => Err(Syntax::Extra(self.usage)),
        }
    }
}

/// Decimal digits and nothing else, at most 40; what is too large for the type is its largest value.
fn decimal(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > MAX_ARGUMENT {
        return None;
    }
    word.iter().try_fold(0_u64, |number, octet| {
        let digit = octet.is_ascii_digit().then(|| u64::from(octet - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

/// 32 hexadecimal digits.
pub(super) fn digest(word: &[u8]) -> Option<[u8; 16]> {
    let text = std::str::from_utf8(word).ok()?;
    let is_hex = text.len() == 32 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)).flatten()
}

#[cfg(test)]
mod tests;
