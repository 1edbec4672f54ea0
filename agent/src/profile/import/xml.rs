//! XML within bounds.
//!
//! The bounds come first: an export of a real fleet takes some tens of kilobytes, a dozen levels and
//! some thousand elements. Nothing is ever expanded or fetched: a document type, an entity of its own
//! or an XInclude is refused by name, because whoever wrote it expected the reader to obey.

use crate::profile::document::ProfileError;
use roxmltree::{Document, Error, Node, ParsingOptions};
use std::path::Path;

/// The longest export, in bytes.
pub const MAXIMUM_OCTETS: usize = 1 << 20;
/// How deep elements may stand in one another.
pub const MAXIMUM_DEPTH: usize = 24;
/// How many elements, texts and comments an export may hold.
pub const MAXIMUM_ELEMENTS: u32 = 20_000;

const XINCLUDE: &str = "http://www.w3.org/2001/XInclude";

/// Returns the text of an export; a byte order mark does not belong to it.
pub(super) fn text<'o>(file: &Path, octets: &'o [u8]) -> Result<&'o str, ProfileError> {
    let whole = |problem: String, expected: &str| ProfileError::whole(file, problem, expected);
    if octets.len() > MAXIMUM_OCTETS {
        return Err(whole(format!("is longer than {MAXIMUM_OCTETS} bytes"), "an export of FortiClient"));
    }
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    std::str::from_utf8(octets).map_err(|error| {
        let good = octets.get(..error.valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|octet| **octet == b'\n').count() + 1;
        let column = good.rsplit(|octet| *octet == b'\n').next().map_or(1, |rest| rest.len() + 1);
        ProfileError { line, column, ..whole("is not UTF-8".into(), "UTF-8, as FortiClient writes it") }
    })
}

/// Parses an export.
pub(super) fn parse<'t>(file: &Path, text: &'t str) -> Result<Document<'t>, ProfileError> {
    // Before anything is built: the parser's own work grows with the depth.
    shallow(file, text)?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAXIMUM_ELEMENTS, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| refused(file, text, &error))?;
    for node in document.descendants() {
        let included = |namespace: Option<&str>| namespace == Some(XINCLUDE);
        if included(node.tag_name().namespace()) || node.attributes().any(|a| included(a.namespace())) {
            return Err(error_at(
                file,
                &document,
                node.range().start,
                "is an XInclude",
                "an export without inclusions",
            ));
        }
        if node.is_pi() {
            let problem = "is a processing instruction";
            return Err(error_at(file, &document, node.range().start, problem, "an export without instructions"));
        }
    }
    Ok(document)
}

/// Makes the error of one place.
pub(super) fn error_at(
    file: &Path,
    document: &Document<'_>,
    offset: usize,
    problem: &str,
    expected: &str,
) -> ProfileError {
    let element = document
        .descendants()
        .rfind(|node| node.is_element() && node.range().contains(&offset))
        .map(path)
        .unwrap_or_default();
    ProfileError::at(file, document.input_text(), offset, element, problem.into(), expected)
}

/// Returns where an element stands: names from the root on, numbered where siblings share one.
pub(super) fn path(node: Node<'_, '_>) -> String {
    let steps: Vec<String> = node
        .ancestors()
        .filter(Node::is_element)
        .map(|step| {
            let name = step.tag_name().name();
            let namesakes = |node: &Node<'_, '_>| node.is_element() && node.tag_name().name() == name;
            let before = step.prev_siblings().skip(1).filter(namesakes).count();
            let after = step.next_siblings().skip(1).filter(namesakes).count();
            if before + after == 0 { name.to_owned() } else { format!("{name}[{}]", before + 1) }
        })
        .collect();
    steps.iter().rev().fold(String::new(), |path, step| path + "/" + step)
}

/// Counts the depth by the tags alone, without building anything, and finds a document type.
fn shallow(file: &Path, text: &str) -> Result<(), ProfileError> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let offset = text.len() - rest.len() + start;
        let tag = rest.get(start..).unwrap_or_default();
        if tag.get(..9).is_some_and(|begin| begin.eq_ignore_ascii_case("<!DOCTYPE")) {
            let expected = "an export without a document type";
            return Err(ProfileError::at(file, text, offset, open_at(text, offset), "has a DOCTYPE".into(), expected));
        }
        let skipped = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")]
            .into_iter()
            .find(|(opening, _)| tag.starts_with(opening))
            .map(|(opening, closing)| {
                let inner = tag.get(opening.len()..).unwrap_or_default();
                inner.find(closing).map(|end| opening.len() + end + closing.len())
            });
        let length = match skipped {
            Some(length) => length,
            None => tag.find('>').map(|end| end + 1),
        };
        // What does not close is the parser's to name.
        let Some(length) = length else { return Ok(()) };
        let whole = tag.get(..length).unwrap_or_default();
        if skipped.is_none() && whole.starts_with("</") {
            open.pop();
        } else if skipped.is_none() && whole.starts_with('<') && !whole.starts_with("<!") && !whole.ends_with("/>") {
            let name = whole.trim_start_matches('<').split(|c: char| c.is_whitespace() || c == '>').next();
            open.push(name.unwrap_or_default());
            if open.len() > MAXIMUM_DEPTH {
                let element = format!("/{}", open.join("/"));
                let problem = format!("is deeper than {MAXIMUM_DEPTH} levels");
                return Err(ProfileError::at(file, text, offset, element, problem, "an export of FortiClient"));
            }
        }
        rest = tag.get(length..).unwrap_or_default();
    }
    Ok(())
}

/// Makes the error of what the parser refused.
fn refused(file: &Path, text: &str, error: &Error) -> ProfileError {
    let place = error.pos();
    let offset = offset_of(text, place.row, place.col);
    let element = open_at(text, offset);
    let (problem, expected) = match error {
        Error::DtdDetected => ("has a DOCTYPE".to_owned(), "an export without a document type"),
        // What follows an `&` in a key is part of the key.
        Error::UnknownEntityReference(..) if holds_secret(&element) => {
            ("has an `&` that begins no entity".to_owned(), "&amp; in the place of a plain `&`")
        }
        Error::UnknownEntityReference(name, _) => {
            (format!("has the entity `&{name};`"), "&amp; &lt; &gt; &quot; &apos; or a character's number")
        }
        Error::NodesLimitReached => (format!("has more than {MAXIMUM_ELEMENTS} elements"), "an export of FortiClient"),
        other => {
            let message = other.to_string();
            // The place is named by us.
            let message = message.rsplit_once(" at ").map_or(message.as_str(), |(problem, _)| problem);
            (message.to_owned(), "well-formed XML")
        }
    };
    if matches!(error, Error::NodesLimitReached) {
        return ProfileError::whole(file, problem, expected);
    }
    ProfileError::at(file, text, offset, element, problem, expected)
}

fn holds_secret(element: &str) -> bool {
    element.rsplit('/').next().is_some_and(|name| ["preshared_key", "password", "auth_key"].contains(&name))
}

/// Finds the offset of the parser's line and column (in characters, from 1).
fn offset_of(text: &str, row: u32, column: u32) -> usize {
    let number = |number: u32| usize::try_from(number.max(1) - 1).unwrap_or_default();
    let start: usize = text.split_inclusive('\n').take(number(row)).map(str::len).sum();
    let line = text.get(start..).unwrap_or_default();
    start + line.char_indices().nth(number(column)).map_or(line.len(), |(offset, _)| offset)
}

/// Names the elements that are open at an offset, as far as tags tell.
fn open_at(text: &str, offset: usize) -> String {
    let mut open: Vec<&str> = Vec::new();
    for piece in text.get(..offset).unwrap_or_default().split('<').skip(1) {
        let Some((tag, _)) = piece.split_once('>') else { continue };
        if tag.starts_with('/') {
            open.pop();
        } else if !tag.starts_with(['!', '?']) && !tag.ends_with('/') {
            open.push(tag.split(char::is_whitespace).next().unwrap_or_default());
        }
    }
    open.truncate(MAXIMUM_DEPTH);
    open.iter().fold(String::new(), |path, step| path + "/" + step)
}
