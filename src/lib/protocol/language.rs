//! The languages of the replies' texts (RFC 6856, section 3), and every text in each.
//!
//! Texts are written in English where they are said; what is sent to a client that selected another language is looked up
//! here. Response codes, numbers and names stay. A test holds that no text is missing.

/// A language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// What is spoken before LANG (RFC 2277, section 4.5): English that who does not know English can read too.
    #[default]
    Default,
    /// English.
    English,
    /// German.
    German,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Default, Self::English, Self::German];

    /// The tag (RFC 5646).
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Default => "i-default",
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// How it names itself.
    pub const fn own_name(self) -> &'static str {
        match self {
            Self::Default => "Plain English",
            Self::English => "English",
            Self::German => "Deutsch",
        }
    }

    /// The language for a language range by lookup (RFC 4647, section 3.4): `de-AT` finds `de`. `*` is what is spoken anyway.
    pub fn of_range(range: &str) -> Option<Self> {
        if range == "*" {
            return Some(Self::Default);
        }
        let mut range = range;
        loop {
            if let Some(found) = Self::ALL.into_iter().find(|known| known.tag().eq_ignore_ascii_case(range)) {
                return Some(found);
            }
            range = range.rsplit_once('-')?.0;
            // A letter alone says what the next subtag is.
            if let Some((shorter, single)) = range.rsplit_once('-')
                && single.len() == 1
            {
                range = shorter;
            }
        }
    }

    /// A text in this language. What stands in brackets before it stays; what is in no table does, too.
    pub fn translate(self, text: &str) -> String {
        if self != Self::German {
            return text.to_owned();
        }
        let (code, words) = match text.split_once("] ") {
            Some((code, words)) if code.starts_with('[') => (format!("{code}] "), words),
            _ => (String::new(), text),
        };
        let translated = GERMAN.iter().find_map(|(english, german)| replace(english, german, words));
        translated.map_or_else(|| text.to_owned(), |translated| code + &translated)
    }

    /// The number for messages between processes.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The language of a number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.number() == number)
    }
}

/// `to` with what stands in `text` where `from` has `{}`, when the rest of `text` is as in `from`.
fn replace(from: &str, to: &str, text: &str) -> Option<String> {
    let mut fixed = from.split("{}");
    let mut rest = text.strip_prefix(fixed.next()?)?;
    let mut pieces = to.split("{}");
    let mut out = pieces.next()?.to_owned();
    let mut fixed = fixed.peekable();
    while let Some(part) = fixed.next() {
        // The last hole reaches to the end of the text or to its last words.
        let at = if fixed.peek().is_none() {
            rest.ends_with(part).then(|| rest.len() - part.len())?
        } else {
            rest.find(part)?
        };
        let (hole, behind) = rest.split_at(at);
        out.push_str(hole);
        out.push_str(pieces.next().unwrap_or_default());
        rest = behind.strip_prefix(part)?;
    }
    rest.is_empty().then_some(out)
}

/// Texts in English and German. A hole `{}` takes what stands in its place, in the same order. Longer texts stand before what
/// could be taken for them.
const GERMAN: &[(&str, &str)] = &[
    // AUTHORIZATION.
    ("Password required for {}.", "Passwort für {} erforderlich."),
    ("Password supplied for \"{}\" is incorrect.", "Das Passwort für \"{}\" ist falsch."),
    ("USER comes first.", "Zuerst kommt USER."),
    (
        "APOP is not offered: the greeting has no challenge.",
        "APOP wird nicht angeboten: die Begrüßung hat keine Aufgabe.",
    ),
    (
        "Passwords are not accepted over this connection, which is not encrypted.",
        "Passwörter werden über diese Verbindung nicht angenommen, denn sie ist nicht verschlüsselt.",
    ),
    (
        "Passwords are not accepted over this connection, which is not encrypted: use STLS first.",
        "Passwörter werden über diese Verbindung nicht angenommen, denn sie ist nicht verschlüsselt: zuerst STLS.",
    ),
    (
        "Passwords are not accepted by this server, use another mechanism.",
        "Passwörter nimmt dieser Server nicht an, bitte ein anderes Verfahren.",
    ),
    ("Begin TLS negotiation.", "TLS kann beginnen."),
    ("The connection is encrypted already.", "Die Verbindung ist schon verschlüsselt."),
    (
        "Not logged in: this command is for after USER and PASS.",
        "Nicht angemeldet: dieser Befehl kommt nach USER und PASS.",
    ),
    (
        "Too many commands before login: closing the connection.",
        "Zu viele Befehle vor der Anmeldung: die Verbindung wird geschlossen.",
    ),
    ("Too many errors: closing the connection.", "Zu viele Fehler: die Verbindung wird geschlossen."),
    ("{} is not supported by this server.", "{} gibt es auf diesem Server nicht."),
    ("Mechanisms follow.", "Es folgen die Verfahren."),
    ("This server has no mechanism of that name.", "Ein Verfahren dieses Namens hat dieser Server nicht."),
    ("{} is not offered on this connection.", "{} wird auf dieser Verbindung nicht angeboten."),
    ("Authentication cancelled.", "Anmeldung abgebrochen."),
    ("Authentication failed, try again.", "Anmeldung gescheitert, bitte noch einmal."),
    ("This mechanism begins with a challenge.", "Dieses Verfahren beginnt mit einer Aufgabe des Servers."),
    ("This is not base64.", "Das ist kein base64."),
    ("This is no message of the mechanism.", "Das ist keine Nachricht dieses Verfahrens."),
    (
        "Line too long: at most 12288 octets are allowed here.",
        "Zeile zu lang: hier sind höchstens 12288 Oktette erlaubt.",
    ),
    // Both states.
    ("UTF-8 is understood.", "UTF-8 wird verstanden."),
    ("Languages follow.", "Es folgen die Sprachen."),
    ("{} Language selected.", "{} Sprache gewählt."),
    (
        "This language is not here; LANG alone lists those that are.",
        "Diese Sprache gibt es hier nicht; LANG allein nennt die vorhandenen.",
    ),
    ("Capability list follows.", "Es folgt, was der Server kann."),
    ("Pop server at {} signing off.", "POP-Server auf {} verabschiedet sich."),
    ("Already logged in.", "Bereits angemeldet."),
    // Syntax.
    ("A command is expected.", "Ein Befehl wird erwartet."),
    ("Unknown command.", "Unbekannter Befehl."),
    ("Control characters are not allowed in commands.", "Steuerzeichen sind in Befehlen nicht erlaubt."),
    ("Line too long: at most 255 octets are allowed.", "Zeile zu lang: höchstens 255 Oktette sind erlaubt."),
    ("Argument missing, usage: {}", "Es fehlt ein Argument, richtig ist: {}"),
    ("Too many arguments, usage: {}", "Zu viele Argumente, richtig ist: {}"),
    ("Not a message number, usage: {}", "Keine Nummer einer Nachricht, richtig ist: {}"),
    ("Malformed argument, usage: {}", "Falsches Argument, richtig ist: {}"),
    // TRANSACTION and UPDATE.
    ("Maildrop has {} message(s) ({} octets).", "Das Postfach hat {} Nachricht(en) ({} Oktette)."),
    ("{} has {} message(s) ({} octets).", "{} hat {} Nachricht(en) ({} Oktette)."),
    ("{} message(s) ({} octets).", "{} Nachricht(en) ({} Oktette)."),
    ("Top of message follows.", "Es folgt der Anfang der Nachricht."),
    ("Unique identifiers follow.", "Es folgen die Kennungen."),
    ("Header lines follow.", "Es folgen die Kopfzeilen."),
    ("Message {} has been deleted.", "Nachricht {} ist gelöscht."),
    ("Message {} does not exist: {} in the maildrop.", "Nachricht {} gibt es nicht: {} im Postfach."),
    ("Start sending message.", "Die Nachricht kann kommen."),
    ("Message transmitted.", "Nachricht abgeschickt."),
    ("XTND XMIT is switched off here.", "XTND XMIT ist hier abgeschaltet."),
    ("XTND XLST is switched off here.", "XTND XLST ist hier abgeschaltet."),
    // Faults, behind their response codes.
    (
        "You logged in a moment ago, try again later",
        "Sie haben sich eben erst angemeldet, versuchen Sie es später",
    ),
    (
        "Maildrop lock busy!  Is another session active?",
        "Das Postfach ist gesperrt. Läuft noch eine andere Sitzung?",
    ),
    (
        "the maildrop is not available now, try again later",
        "das Postfach ist gerade nicht verfügbar, bitte später noch einmal",
    ),
    (
        "the maildrop is not available, please tell the administrator",
        "das Postfach ist nicht verfügbar, bitte der Verwaltung melden",
    ),
    (
        "the maildrop was changed by another program, log in again",
        "ein anderes Programm hat das Postfach geändert, bitte neu anmelden",
    ),
    (
        "the maildrop is locked by another program, try again later",
        "ein anderes Programm hat das Postfach gesperrt, bitte später noch einmal",
    ),
    (
        "the messages may be deleted already: log in again and look",
        "die Nachrichten sind vielleicht schon gelöscht: bitte neu anmelden und nachsehen",
    ),
    (
        "no room to rewrite the maildrop: nothing was deleted; deleting all messages or only the newest still works",
        "kein Platz, um das Postfach neu zu schreiben: nichts wurde gelöscht; alle oder nur die neuesten zu löschen geht noch",
    ),
    (
        "the directory of the maildrop cannot be written: nothing was deleted; \
         deleting all messages or only the newest still works",
        "das Verzeichnis des Postfachs ist nicht beschreibbar: nichts wurde gelöscht; \
         alle oder nur die neuesten zu löschen geht noch",
    ),
    (
        "the maildrop cannot be rewritten now: nothing was deleted; deleting all messages or only the newest may still work",
        "das Postfach kann gerade nicht neu geschrieben werden: nichts wurde gelöscht; \
         alle oder nur die neuesten zu löschen geht vielleicht noch",
    ),
    (
        "no room to remember the unique ids of equal messages; deleting all of them still works",
        "kein Platz, um die Kennungen gleicher Nachrichten zu merken; alle davon zu löschen geht noch",
    ),
    ("server is busy, try again later", "der Server ist überlastet, bitte später noch einmal"),
    ("the server is too busy, try again later", "der Server ist überlastet, bitte später noch einmal"),
    ("the server is shutting down", "der Server wird beendet"),
    ("too many connections, try again later", "zu viele Verbindungen, bitte später noch einmal"),
    (
        "logins are not possible now, try again later",
        "Anmeldungen sind gerade nicht möglich, bitte später noch einmal",
    ),
    (
        "logins cannot be checked now, try again later",
        "Anmeldungen können gerade nicht geprüft werden, bitte später noch einmal",
    ),
    (
        "secrets cannot be checked, please tell the administrator",
        "Geheimnisse können nicht geprüft werden, bitte der Verwaltung melden",
    ),
    ("this message was removed by another program", "ein anderes Programm hat diese Nachricht entfernt"),
    ("some deleted messages not removed", "einige gelöschte Nachrichten wurden nicht entfernt"),
    ("the message is larger than {} octets", "die Nachricht ist größer als {} Oktette"),
    ("there is no room to receive the message now", "für die Nachricht ist gerade kein Platz"),
    ("the message was not accepted by sendmail", "sendmail hat die Nachricht nicht angenommen"),
    ("the message cannot be sent now", "die Nachricht kann gerade nicht abgeschickt werden"),
    (
        "sendmail takes too long, the message may be sent later",
        "sendmail braucht zu lange, die Nachricht geht vielleicht später ab",
    ),
    ("{} octets", "{} Oktette"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4647, section 3.4: lookup; RFC 6856, section 3: `*` is the server's choice.
    #[test]
    fn a_range_finds_its_language() {
        for (range, found) in [
            ("de", Some(Language::German)),
            ("DE-at", Some(Language::German)),
            ("de-x-us", Some(Language::German)),
            ("en-GB-oed", Some(Language::English)),
            ("i-default", Some(Language::Default)),
            ("*", Some(Language::Default)),
            ("fr", None),
            ("d", None),
            ("", None),
            ("-", None),
            ("deu", None),
            ("fr-de", None),
        ] {
            assert_eq!(Language::of_range(range), found, "{range}");
        }
    }

    #[test]
    fn holes_are_filled_and_codes_stay() {
        let german = |text| Language::German.translate(text);
        assert_eq!(
            german("[AUTH] Password supplied for \"ann\" is incorrect."),
            "[AUTH] Das Passwort für \"ann\" ist falsch."
        );
        assert_eq!(german("ann has 2 message(s) (320 octets)."), "ann hat 2 Nachricht(en) (320 Oktette).");
        assert_eq!(
            german("Message 3 does not exist: 2 in the maildrop."),
            "Nachricht 3 gibt es nicht: 2 im Postfach."
        );
        for data in ["2 320", "", "1 whqtswO00WBw418f9t5JxYwZ", "[SYS/TEMP] no such words"] {
            assert_eq!(german(data), data, "numbers and what is in no table stay");
        }
        assert_eq!(Language::English.translate("USER comes first."), "USER comes first.");
    }

    /// A text is taken for one entry alone, and nothing of it is lost.
    #[test]
    fn entries_do_not_hide_each_other() {
        for (index, (english, german)) in GERMAN.iter().enumerate() {
            let holes = english.matches("{}").count();
            assert_eq!(holes, german.matches("{}").count(), "{english}");
            let filled = |text: &str| text.replace("{}", "7");
            assert_eq!(
                Language::German.translate(&filled(english)),
                filled(german),
                "{english}, entry {index}"
            );
            assert!(german.len() < 400, "RFC 1939, section 3: a reply has 512 octets");
        }
    }

    #[test]
    fn a_language_is_a_number() {
        for language in Language::ALL {
            assert_eq!(Language::from_number(language.number()), Some(language));
        }
        assert_eq!(Language::from_number(3), None);
    }
}
