//! XML as a tree, so that elements S3 invents tomorrow survive a read and a write.

use quick_xml::{
    Reader,
    escape::{escape, resolve_predefined_entity},
    events::{BytesStart, Event},
};
use serde_json::{Map, Value};

/// Deeper documents than any S3 configuration are refused, so that no input exhausts the stack.
const MAX_DEPTH: usize = 32;

/// So are longer ones: 1000 lifecycle rules have a few megabytes at most.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// An element with either children or text. Attributes are kept as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    attributes: String,
    pub children: Vec<Element>,
    pub text: String,
}

/// The text is not the XML document it should be.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    #[error("not well-formed XML")]
    Malformed(#[from] quick_xml::Error),
    #[error("no root element, or one that does not end")]
    Incomplete,
    #[error("an entity that XML does not define")]
    Entity,
    #[error("`{0}` is no name of an element")]
    Name(String),
    #[error("elements nested more than {MAX_DEPTH} deep")]
    TooDeep,
    #[error("{0} bytes, more than {MAX_BYTES}")]
    TooLong(usize),
}

impl Element {
    /// An element with children.
    pub fn parent(name: &str, children: Vec<Element>) -> Self {
        Self { name: name.to_owned(), children, ..Self::default() }
    }

    /// An element with text.
    pub fn leaf(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.to_owned(), ..Self::default() }
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|it| it.name == name)
    }

    /// The text of the first child of this name, to the letter: to S3, blanks are part of a name or a prefix.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|it| it.text.as_str())
    }

    /// The same with all children sorted, and without the text between them: equal when only the order differs.
    pub fn sorted(&self) -> Self {
        let mut children: Vec<_> = self.children.iter().map(Self::sorted).collect();
        children.sort_by_cached_key(Self::to_string);
        let text = if children.is_empty() { self.text.clone() } else { String::new() };
        Self { name: self.name.clone(), attributes: self.attributes.clone(), children, text }
    }

    /// Reads a document, at most 16 MiB long and 32 elements deep. Only XML's own entities are known.
    pub fn parse(document: &str) -> Result<Self, XmlError> {
        if document.len() > MAX_BYTES {
            return Err(XmlError::TooLong(document.len()));
        }
        let mut reader = Reader::from_str(document);
        let mut open: Vec<Element> = Vec::new();
        loop {
            let done = match reader.read_event()? {
                Event::Start(_) | Event::Empty(_) if open.len() == MAX_DEPTH => return Err(XmlError::TooDeep),
                Event::Start(tag) => {
                    open.push(Self::from_tag(&tag)?);
                    None
                }
                Event::Empty(tag) => Some(Self::from_tag(&tag)?),
                Event::End(_) => open.pop(),
                Event::Text(text) => {
                    append(&mut open, &text.xml10_content());
                    None
                }
                Event::CData(text) => {
                    append(&mut open, &text.xml10_content());
                    None
                }
                Event::GeneralRef(reference) => {
                    match reference.resolve_char_ref()? {
                        Some(character) => append(&mut open, character.encode_utf8(&mut [0; 4])),
                        None => append(&mut open, resolve_predefined_entity(&reference).ok_or(XmlError::Entity)?),
                    }
                    None
                }
                Event::Eof => return Err(XmlError::Incomplete),
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::DocType(_) => None,
            };
            if let Some(element) = done {
                match open.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None => return Ok(element),
                }
            }
        }
    }

    fn from_tag(tag: &BytesStart<'_>) -> Result<Self, XmlError> {
        let name = tag.name().as_ref().to_owned();
        // Both are written as they stand: what does not end here would not end there.
        if name.contains(['"', '\'', '=', '<', '&', '/']) {
            return Err(XmlError::Name(name));
        }
        for attribute in tag.attributes().with_checks(false) {
            attribute.map_err(quick_xml::Error::from)?;
        }
        // XML's spaces, and no others: what else stands there belongs to a name.
        let attributes = tag.attributes_raw().trim_matches([' ', '\t', '\r', '\n']).to_owned();
        Ok(Self { name, attributes, ..Self::default() })
    }

    /// The tree as JSON, for people: leaves are strings, repeated children are lists.
    pub fn to_json(&self) -> Value {
        if self.children.is_empty() {
            return Value::String(self.text.clone());
        }
        let mut object = Map::new();
        for child in &self.children {
            match object.get_mut(&child.name) {
                None => drop(object.insert(child.name.clone(), child.to_json())),
                Some(Value::Array(list)) => list.push(child.to_json()),
                Some(first) => *first = Value::Array(vec![first.take(), child.to_json()]),
            }
        }
        Value::Object(object)
    }
}

fn append(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{}", self.name)?;
        if !self.attributes.is_empty() {
            write!(f, " {}", self.attributes)?;
        }
        f.write_str(">")?;
        if self.children.is_empty() {
            f.write_str(&escape(&self.text))?;
        }
        for child in &self.children {
            child.fmt(f)?;
        }
        write!(f, "</{}>", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written() {
        let text = "<A xmlns=\"urn:x\"><B k=\"1\">a &amp; b &lt; &#233;</B><C></C><Future><Deep>1</Deep></Future></A>";
        let tree = Element::parse(&format!("<?xml version=\"1.0\"?>\n{text}")).unwrap();
        assert_eq!(tree.children[0].text, "a & b < é");
        assert_eq!(tree.to_string(), text.replace("&#233;", "é"));
        assert_eq!(Element::parse(&tree.to_string()).unwrap(), tree);
    }

    #[test]
    fn blanks_in_a_text_are_part_of_it() {
        let text = "<A><B> </B><C>\t x&#13;\n </C></A>";
        let tree = Element::parse(&text.replace('\n', "\r\n")).unwrap();
        assert_eq!((tree.child_text("B"), tree.child_text("C")), (Some(" "), Some("\t x\r\n ")));
        assert_eq!(tree.to_json(), serde_json::json!({"B": " ", "C": "\t x\r\n "}));
        assert_eq!(tree.to_string(), text);
    }

    #[test]
    fn only_an_order_that_differs_is_no_difference() {
        let sorted = |text: &str| Element::parse(text).unwrap().sorted();
        assert_eq!(sorted("<A>\n<B><D>1</D><C>2</C></B> <B/></A>"), sorted("<A><B></B><B><C>2</C><D>1</D></B></A>"));
        assert_ne!(sorted("<A><B>1</B></A>"), sorted("<A><B> 1</B></A>"));
        assert_ne!(sorted("<A><B/></A>"), sorted("<A><B/><B/></A>"));
    }

    #[test]
    fn bad_documents_are_refused() {
        for bad in ["", "<A>", "<A></B>", "plain", "<A", &"<A>".repeat(100_000)] {
            assert!(Element::parse(bad).is_err(), "{}", &bad[..bad.len().min(20)]);
        }
    }

    #[test]
    fn a_document_may_be_as_deep_and_as_long_as_is_said() {
        let nested = |depth: usize| Element::parse(&format!("{}{}", "<A>".repeat(depth), "</A>".repeat(depth)));
        assert!(nested(32).is_ok() && matches!(nested(33), Err(XmlError::TooDeep)));
        let empty = |depth: usize| Element::parse(&format!("{}<B/>{}", "<A>".repeat(depth), "</A>".repeat(depth)));
        assert!(empty(31).is_ok() && matches!(empty(32), Err(XmlError::TooDeep)));
        let of_length = |bytes: usize| Element::parse(&format!("{}<A/>", " ".repeat(bytes - 4)));
        assert!(of_length(16 * 1024 * 1024).is_ok());
        assert!(matches!(of_length(16 * 1024 * 1024 + 1), Err(XmlError::TooLong(16_777_217))));
    }

    #[test]
    fn people_see_repeated_children_as_a_list() {
        let tree = Element::parse("<A><B>1</B><C/><B>2</B><B><D>3</D></B></A>").unwrap();
        assert_eq!(tree.to_json(), serde_json::json!({"B": ["1", "2", {"D": "3"}], "C": ""}));
    }

    #[test]
    fn the_first_child_of_a_name_counts() {
        let tree = Element::parse("<A><B>1</B><C>2</C><B>3</B></A>").unwrap();
        assert_eq!((tree.child_text("B"), tree.child_text("C"), tree.child_text("D")), (Some("1"), Some("2"), None));
    }
}
