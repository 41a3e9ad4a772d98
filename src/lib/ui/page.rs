//! One page of HTML with everything in it: no script, nothing from elsewhere. Charts are SVG, so drawn by the browser in any size;
//! their words are HTML, so that they stay readable on a telephone. Colours follow the reader's choice of light or dark.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// A page that is being written.
#[derive(Debug)]
pub(crate) struct Page {
    title: String,
    body: String,
}

/// A bar of a chart: its name, its value as it is drawn, and its value in words.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    /// What stands below it, or beside it.
    pub(crate) name: String,
    /// How long it is.
    pub(crate) value: u64,
    /// What is said when one points at it.
    pub(crate) words: String,
}

/// The least columns that are drawn, so that few are not as broad as the page.
const LEAST_COLUMNS: usize = 7;

/// Names below a chart: more would run into one another on a telephone.
const MOST_NAMES: usize = 4;

const STYLE: &str = "
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --text: #1c2430; --faint: #5d6878; --line: #dfe3e9;
  --first: #2f6fd6; --second: #c8553d; --back: #e9edf3; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1b212a; --text: #e6eaf0; --faint: #9aa6b6;
  --line: #2f3845; --first: #6ea3f7; --second: #ef8a72; --back: #28303b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.45 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.25rem 1rem 3rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 0 0 .75rem; }
header p, footer { color: var(--faint); margin: .25rem 0 1.25rem; } footer { font-size: .875rem; margin-top: 1.5rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; margin: 0 0 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 1rem; }
.tiles div { min-width: 0; } .tiles b { display: block; font-size: 1.6rem; line-height: 1.2; font-weight: 600; }
.tiles span { color: var(--faint); font-size: .9rem; }
.halves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 1rem; }
svg { display: block; width: 100%; } .columns svg { height: 9rem; border-bottom: 1px solid var(--line); }
rect.a { fill: var(--first); } rect.b { fill: var(--second); } rect.back { fill: var(--back); } rect.hit { fill: transparent; }
.names { display: flex; justify-content: space-between; color: var(--faint); font-size: .8rem; padding-top: .3rem; }
.head { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: 0 1rem; margin: 0 0 .75rem; }
.head h2 { margin: 0; } .head span { color: var(--faint); font-size: .8rem; }
.bars { display: grid; grid-template-columns: fit-content(45%) minmax(3rem, 1fr) max-content; gap: .4rem .75rem;
  align-items: center; }
.bars > * { min-width: 0; overflow-wrap: anywhere; } .bars svg { height: .8rem; border-radius: .2rem; }
.bars > :nth-child(3n) { text-align: right; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .95rem; }
th { text-align: left; color: var(--faint); font-weight: 500; }
th, td { padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; } td:first-child { overflow-wrap: anywhere; min-width: 6rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; } .none { color: var(--faint); margin: 0; }
@media (max-width: 30rem) { table { font-size: .85rem; } th, td { padding-right: .5rem; } td:first-child { min-width: 4rem; } }
";

impl Page {
    /// A page with a heading and a line below it.
    pub(crate) fn new(title: &str, below: &str) -> Self {
        let (title, below) = (escaped(title), escaped(below));
        let body = format!("<header><h1>{title}</h1><p>{below}</p></header>\n");
        Self { title, body }
    }

    /// The page as a document, with a last line.
    pub(crate) fn finish(self, footer: &str) -> String {
        let Self { title, body } = self;
        let footer = escaped(footer);
        let style = STANDARD.encode(Sha256::digest(STYLE));
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{style}'\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}<footer>{footer}</footer>\n\
             </main>\n</body>\n</html>\n"
        )
    }

    /// Large numbers with a word each.
    pub(crate) fn tiles(&mut self, tiles: &[(String, &str)]) {
        self.add("<section class=\"tiles\">");
        for (number, word) in tiles {
            self.add(&format!("<div><b>{}</b><span>{}</span></div>", escaped(number), escaped(word)));
        }
        self.add("</section>\n");
    }

    /// Two columns, where the page is wide enough, of what `fill` adds.
    pub(crate) fn halves(&mut self, fill: impl FnOnce(&mut Self)) {
        self.add("<div class=\"halves\">\n");
        fill(self);
        self.add("</div>\n");
    }

    /// Columns beside one another, such as one for each day.
    pub(crate) fn columns(&mut self, title: &str, bars: &[Bar], class: Class) {
        let most = bars.iter().map(|bar| bar.value).max().unwrap_or(0);
        if most == 0 {
            self.head(title);
            return self.nothing();
        }
        let highest = bars.iter().find(|bar| bar.value == most).map_or("", |bar| bar.words.as_str());
        let (places, class) = (bars.len().max(LEAST_COLUMNS), class.word());
        self.add(&format!(
            "<section><div class=\"head\"><h2>{}</h2><span>highest: {}</span></div>\n<div class=\"columns\">",
            escaped(title),
            escaped(highest)
        ));
        let label = escaped(&format!("{title}: {} columns, the highest {highest}", bars.len()));
        self.add(&format!(
            "<svg viewBox=\"0 0 {} 100\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{label}\">",
            places * 10
        ));
        for (at, bar) in bars.iter().enumerate() {
            let (x, height) = (at * 10, tenths(bar.value, most));
            let (y, words) = (tenths_text(1000 - height), escaped(&bar.words));
            let height = tenths_text(height);
            self.add(&format!(
                "<g><title>{words}</title><rect class=\"hit\" x=\"{x}\" y=\"0\" width=\"10\" height=\"100\"/>\
                 <rect class=\"{class}\" x=\"{x}.8\" y=\"{y}\" width=\"8.4\" height=\"{height}\"/></g>"
            ));
        }
        self.add("</svg>");
        if bars.len() == places {
            self.add("<div class=\"names\">");
            for name in some(bars) {
                self.add(&format!("<span>{}</span>", escaped(name)));
            }
            self.add("</div>");
        } else {
            let all: Vec<&str> = bars.iter().map(|bar| bar.name.as_str()).collect();
            self.add(&format!("<div class=\"names\"><span>{}</span></div>", escaped(&all.join(", "))));
        }
        self.add("</div></section>\n");
    }

    /// Bars below one another, each with its name and its value in words.
    pub(crate) fn bars(&mut self, title: &str, bars: &[Bar], class: Class) {
        self.head(title);
        let most = bars.iter().map(|bar| bar.value).max().unwrap_or(0);
        if most == 0 {
            return self.nothing();
        }
        self.add("<div class=\"bars\">\n");
        for bar in bars {
            let (name, words, width) =
                (escaped(&bar.name), escaped(&bar.words), tenths_text(tenths(bar.value, most)));
            self.add(&format!(
                "<span>{name}</span><svg viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
                 <rect class=\"back\" width=\"100\" height=\"10\"/>\
                 <rect class=\"{}\" width=\"{width}\" height=\"10\"/></svg><span>{words}</span>\n",
                class.word()
            ));
        }
        self.add("</div></section>\n");
    }

    /// A table; columns whose titles begin with `#` have numbers.
    pub(crate) fn table(&mut self, title: &str, titles: &[&str], rows: &[Vec<String>]) {
        self.head(title);
        if rows.is_empty() {
            return self.nothing();
        }
        let class = |column: usize| {
            if titles.get(column).is_some_and(|title| title.starts_with('#')) {
                " class=\"number\""
            } else {
                ""
            }
        };
        self.add("<div class=\"scroll\"><table><thead><tr>");
        for (column, title) in titles.iter().enumerate() {
            self.add(&format!("<th{}>{}</th>", class(column), escaped(title.trim_start_matches('#'))));
        }
        self.add("</tr></thead><tbody>\n");
        for row in rows {
            self.add("<tr>");
            for (column, value) in row.iter().enumerate() {
                self.add(&format!("<td{}>{}</td>", class(column), escaped(value)));
            }
            self.add("</tr>\n");
        }
        self.add("</tbody></table></div></section>\n");
    }

    fn head(&mut self, title: &str) {
        self.add(&format!("<section><h2>{}</h2>\n", escaped(title)));
    }

    fn nothing(&mut self) {
        self.add("<p class=\"none\">none</p></section>\n");
    }

    fn add(&mut self, html: &str) {
        self.body.push_str(html);
    }
}

/// What a bar is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Class {
    /// Service.
    Good,
    /// Trouble.
    Bad,
}

impl Class {
    const fn word(self) -> &'static str {
        match self {
            Self::Good => "a",
            Self::Bad => "b",
        }
    }
}

/// The first, the last, and some between, evenly.
fn some(bars: &[Bar]) -> Vec<&str> {
    let (count, last) = (bars.len().min(MOST_NAMES), bars.len().saturating_sub(1));
    (0..count).map(|at| bars[at * last / (count - 1).max(1)].name.as_str()).collect()
}

/// The share of `most`, from 0 to 1000; something is never drawn as nothing.
fn tenths(value: u64, most: u64) -> u64 {
    let share = u128::from(value) * 1000 / u128::from(most.max(1));
    let share = u64::try_from(share).unwrap_or(1000);
    if value > 0 { share.max(10) } else { 0 }
}

fn tenths_text(tenths: u64) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Text as HTML, in an attribute too: nothing of it is markup, and nothing moves or hides its neighbours.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in super::visible(text).chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => drop(html.write_char(other)),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "<script>alert(1)</script>\"'&\u{202e}\u{1b}[2J\u{0}";

    #[test]
    fn nothing_from_outside_is_markup_and_nothing_comes_from_elsewhere() {
        let mut page = Page::new(HOSTILE, HOSTILE);
        let bar = Bar { name: HOSTILE.to_owned(), value: 1, words: HOSTILE.to_owned() };
        page.tiles(&[(HOSTILE.to_owned(), "x")]);
        page.halves(|page| {
            page.columns(HOSTILE, &vec![bar.clone(); 9], Class::Good);
            page.bars(HOSTILE, &[bar], Class::Bad);
        });
        page.table(HOSTILE, &["user", "#octets"], &[vec![HOSTILE.to_owned(), HOSTILE.to_owned()]]);
        let html = page.finish(HOSTILE);
        assert!(!html.contains("<script") && !html.contains("alert(1)</"), "{html}");
        assert!(!html.contains(['\u{202e}', '\u{1b}', '\u{0}']), "nothing that hides or moves");
        for outside in ["http:", "https:", "://", "src=", "href=", "url(", "@import", "<script", " on"] {
            let found = html.replace("alert(1)&lt;/script", "").replace("</", "").find(outside);
            let around = found.map(|at| html[at.saturating_sub(30)..at].to_owned());
            assert_eq!(around, None, "{outside}");
        }
    }

    #[test]
    fn bars_are_shares_and_tags_are_balanced() {
        assert_eq!((tenths(5, 10), tenths(1, 1_000_000), tenths(0, 5), tenths(0, 0)), (500, 10, 0, 0));
        let bars: Vec<Bar> =
            (0..30).map(|day| Bar { name: format!("d{day}"), value: day, words: format!("{day}") }).collect();
        assert_eq!(some(&bars), ["d0", "d9", "d19", "d29"]);
        assert_eq!((some(&bars[..1]), some(&[])), (vec!["d0"], vec![]));
        let mut page = Page::new("t", "b");
        page.columns("c", &bars, Class::Good);
        page.columns("few", &bars[1..3], Class::Good);
        page.columns("none", &[], Class::Good);
        page.bars("b", &bars, Class::Bad);
        page.table("t", &["a"], &[vec!["1".to_owned()]]);
        let html = page.finish("f");
        for tag in ["section", "div", "svg", "g", "span", "table", "tr", "td", "main", "p"] {
            let opened =
                html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}
