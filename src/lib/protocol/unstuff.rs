//! From the wire to a message: what a client sends after XTND XMIT.

use memchr::memchr2;

/// Where the decoder stands in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At the beginning of a line.
    Start,
    /// Behind a `.` that begins a line.
    Dot,
    /// Behind `.` and CR at the beginning of a line.
    DotCr,
    /// In the text.
    Text,
    /// Behind a CR in the text.
    Cr,
    /// Behind the `.` line.
    End,
}

/// Decodes a dot-stuffed message (RFC 1939, section 3) into one with LF line ends, streaming. Lines end with
/// CRLF or a bare LF; a lone CR stays. It holds no bytes but its place in the line.
#[derive(Debug)]
pub struct Unstuffer {
    at: At,
}

impl Default for Unstuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Unstuffer {
    /// A decoder at the message's begin.
    pub const fn new() -> Self {
        Self { at: At::Start }
    }

    /// Appends the message that the received bytes carry, and says how many of them it took: all, but for what
    /// stands behind the `.` line.
    pub fn decode(&mut self, received: &[u8], message: &mut Vec<u8>) -> usize {
        let mut rest = received;
        while self.at != At::End {
            let Some(&next) = rest.first() else { break };
            let taken = match self.at {
                At::Text => self.text(rest, message),
                At::Start | At::Dot | At::DotCr | At::Cr | At::End => {
                    usize::from(self.special(next, message))
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        received.len() - rest.len()
    }

    /// Whether the `.` line has come.
    pub fn is_finished(&self) -> bool {
        self.at == At::End
    }

    /// Copies text up to a CR or LF; returns how many octets it took.
    fn text(&mut self, rest: &[u8], message: &mut Vec<u8>) -> usize {
        let end = memchr2(b'\r', b'\n', rest);
        let text = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        message.extend_from_slice(text);
        match end.and_then(|end| rest.get(end)) {
            None => return text.len(),
            Some(b'\r') => self.at = At::Cr,
            Some(_) => self.end_line(message),
        }
        text.len() + 1
    }

    /// One octet where the place in the line matters; false when it was only looked at.
    fn special(&mut self, next: u8, message: &mut Vec<u8>) -> bool {
        match (self.at, next) {
            (At::Start, b'.') => self.at = At::Dot,
            (At::Dot, b'\r') => self.at = At::DotCr,
            (At::Dot | At::DotCr, b'\n') => self.at = At::End,
            (At::Cr, b'\n') => self.end_line(message),
            (At::DotCr | At::Cr, _) => {
                message.push(b'\r');
                self.at = At::Text;
                return false;
            }
            (At::Start | At::Dot | At::Text | At::End, _) => {
                self.at = At::Text;
                return false;
            }
        }
        true
    }

    fn end_line(&mut self, message: &mut Vec<u8>) {
        message.push(b'\n');
        self.at = At::Start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes in pieces of that size; the message, and the octets taken.
    fn decode(wire: &[u8], piece: usize) -> (Vec<u8>, Option<usize>) {
        let (mut decoder, mut message, mut taken) = (Unstuffer::new(), Vec::new(), 0);
        for piece in wire.chunks(piece) {
            taken += decoder.decode(piece, &mut message);
        }
        (message, decoder.is_finished().then_some(taken))
    }

    /// RFC 1939, section 3: the `.` line ends the message, a stuffed dot is taken away.
    #[test]
    fn a_message_ends_at_the_dot_line() {
        let cases: [(&[u8], &[u8], Option<usize>); 9] = [
            (b".\r\nQUIT\r\n", b"", Some(3)),
            (b"a\r\n.\r\nQUIT\r\n", b"a\n", Some(6)),
            (b"a\n.\nQUIT\n", b"a\n", Some(4)),
            (b"..\r\n..a\r\n.b\r\n.\r\n", b".\n.a\nb\n", Some(16)),
            (b"a\r\n.", b"a\n", None),
            (b"a\r\n.\r", b"a\n", None),
            (b"a\rb\r\r\n.\rc\r\n.\r\n", b"a\rb\r\n\rc\n", Some(14)),
            (b"a.\r\n .\r\n.\r\n", b"a.\n .\n", Some(11)),
            (b"\r\n\r\n.\n", b"\n\n", Some(6)),
        ];
        for (wire, message, taken) in cases {
            for piece in 1..=wire.len() {
                assert_eq!(
                    decode(wire, piece),
                    (message.to_vec(), taken),
                    "{:?} by {piece}",
                    wire.escape_ascii()
                );
            }
        }
    }

    /// A decoder takes nothing behind the message's end.
    #[test]
    fn nothing_is_taken_behind_the_end() {
        let (mut decoder, mut message) = (Unstuffer::new(), Vec::new());
        assert_eq!(decoder.decode(b".\r\n", &mut message), 3);
        assert_eq!(decoder.decode(b"QUIT\r\n", &mut message), 0);
    }
}
