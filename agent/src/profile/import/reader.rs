//! Elements by path, and the book of what became of each.

use super::account::{Fate, Finding};
use super::xml;
use roxmltree::{Document, Node};
use std::collections::BTreeSet;
use std::str::FromStr;

/// Reads an export; whatever it hands out is booked, or found again at the end.
pub(super) struct Reader<'d> {
    document: &'d Document<'d>,
    /// Where the settled elements begin.
    settled: BTreeSet<usize>,
    book: Vec<Finding>,
}

impl<'d> Reader<'d> {
    pub(super) const fn new(document: &'d Document<'d>) -> Self {
        Self { document, settled: BTreeSet::new(), book: Vec::new() }
    }

    /// Finds the first element below `parent`, by names separated by `/`.
    pub(super) fn at(&self, parent: Node<'d, 'd>, path: &str) -> Option<Node<'d, 'd>> {
        self.all(parent, path).into_iter().next()
    }

    /// Finds every element below `parent`, by names separated by `/`.
    pub(super) fn all(&self, parent: Node<'d, 'd>, path: &str) -> Vec<Node<'d, 'd>> {
        path.split('/').fold(vec![parent], |found, name| {
            let named = |node: &Node<'d, 'd>| node.is_element() && node.tag_name().name() == name;
            found.into_iter().flat_map(|node| node.children().filter(named)).collect()
        })
    }

    /// Returns the text of the first element of that path, where it holds any.
    pub(super) fn text(&self, parent: Node<'d, 'd>, path: &str) -> Option<(Node<'d, 'd>, String)> {
        let node = self.at(parent, path)?;
        let text = own_text(node);
        (!text.is_empty()).then_some((node, text))
    }

    /// Returns a switch; what is neither 0 nor 1 is booked as not understood.
    pub(super) fn flag(&mut self, parent: Node<'d, 'd>, path: &str) -> Option<(Node<'d, 'd>, bool)> {
        let (node, text) = self.text(parent, path)?;
        match text.as_str() {
            "0" => Some((node, false)),
            "1" => Some((node, true)),
            _ => {
                self.unsupported(node, "is not understood; expected 0 or 1");
                None
            }
        }
    }

    /// Returns a number; what is none is booked as not understood.
    pub(super) fn number<T: FromStr>(&mut self, parent: Node<'d, 'd>, path: &str) -> Option<(Node<'d, 'd>, T)> {
        let (node, text) = self.text(parent, path)?;
        match text.parse() {
            Ok(number) => Some((node, number)),
            Err(_) => {
                self.unsupported(node, "is not understood; expected a number in its range");
                None
            }
        }
    }

    /// Books what an element became.
    pub(super) fn used(&mut self, node: Node<'d, 'd>, became: impl Into<String>) {
        self.enter(node, Fate::Used, became.into());
    }

    /// Books an element that asks for what is done anyway.
    pub(super) fn idle(&mut self, node: Node<'d, 'd>, why: impl Into<String>) {
        self.enter(node, Fate::Idle, why.into());
    }

    /// Books a secret.
    pub(super) fn secret(&mut self, node: Node<'d, 'd>, what: impl Into<String>) {
        self.enter(node, Fate::Secret, what.into());
    }

    /// Books an element that asks for something Postern does not do.
    pub(super) fn unsupported(&mut self, node: Node<'d, 'd>, why: impl Into<String>) {
        self.enter(node, Fate::Unsupported, why.into());
    }

    /// Tells whether an element is booked.
    pub(super) fn is_settled(&self, node: Node<'d, 'd>) -> bool {
        self.settled.contains(&node.range().start)
    }

    /// Takes everything below an element as told with it.
    pub(super) fn settle_below(&mut self, node: Node<'d, 'd>) {
        self.settled.extend(node.descendants().map(|below| below.range().start));
    }

    /// Returns the line of an element.
    pub(super) fn line(&self, node: Node<'d, 'd>) -> u32 {
        self.document.text_pos_at(node.range().start).row
    }

    /// Closes the book of everything below `node`: what nobody asked for is found here.
    pub(super) fn close(&mut self, node: Node<'d, 'd>) -> Vec<Finding> {
        for leaf in node.descendants().filter(|node| node.is_element()) {
            let is_leaf = !leaf.children().any(|child| child.is_element());
            if !is_leaf || self.is_settled(leaf) {
                continue;
            }
            let twice =
                leaf.prev_siblings().skip(1).any(|other| other.tag_name() == leaf.tag_name() && self.is_settled(other));
            if own_text(leaf).is_empty() {
                self.idle(leaf, "is empty");
            } else if twice {
                self.unsupported(leaf, "is given a second time; the first one counts");
            } else {
                self.unsupported(leaf, "is not known here");
            }
        }
        let mut book = self.booked();
        book.sort_by_key(|finding| finding.line);
        book
    }

    /// Takes what was booked so far.
    pub(super) fn booked(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.book)
    }

    fn enter(&mut self, node: Node<'d, 'd>, fate: Fate, detail: String) {
        if self.settled.insert(node.range().start) {
            self.book.push(Finding { path: xml::path(node), line: self.line(node), fate, detail });
        }
    }
}

/// Returns the text that stands directly in an element, without space around it.
pub(super) fn own_text(node: Node<'_, '_>) -> String {
    let pieces: String = node.children().filter(Node::is_text).filter_map(|piece| piece.text()).collect();
    pieces.trim().to_owned()
}
