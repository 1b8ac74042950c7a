//! The paths in a source that start with `crate` or `super`, but for those in code that is compiled for tests alone.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, Ident, LexError, TokenStream, TokenTree};

use super::Module;

/// What a source file says of modules.
#[derive(Debug)]
pub(super) struct Source {
    pub file: PathBuf,
    pub module: Module,
    /// Each from the crate's root, with its line.
    pub paths: Vec<(usize, Module)>,
    /// The modules in other files that it declares for tests alone.
    pub for_tests: Vec<Module>,
}

impl Source {
    /// `file` is its path from the crate's root.
    pub fn read(file: &Path, text: &str) -> Result<Self> {
        let module = module(file);
        let mut source = Self { file: file.to_owned(), module, paths: Vec::new(), for_tests: Vec::new() };
        let module = source.module.clone();
        let tokens = text.parse().map_err(|error: LexError| anyhow!("it is not Rust: {error}"))?;
        source.walk(tokens, &module);
        Ok(source)
    }

    /// Looks at all tokens of a module, or of a part of it.
    fn walk(&mut self, tokens: TokenStream, module: &Module) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        let mut goes_on = false;
        while let [token, after @ ..] = rest {
            rest = match (token, after) {
                (TokenTree::Punct(hash), [attribute, item @ ..])
                    if hash.as_char() == '#' && is_for_tests(attribute) =>
                {
                    self.pass_over(item, module)
                }
                (TokenTree::Ident(word), [TokenTree::Ident(name), TokenTree::Group(body), after @ ..])
                    if word == "mod" =>
                {
                    self.walk(body.stream(), &below(module, name));
                    after
                }
                // `pub(in crate::here)` uses nothing.
                (TokenTree::Ident(word), [TokenTree::Ident(start), ..])
                    if word == "in" && start == "crate" =>
                {
                    &[]
                }
                (TokenTree::Ident(start), _) if !goes_on && (start == "crate" || start == "super") => {
                    self.path(start, after, module);
                    after
                }
                (TokenTree::Group(group), after) => {
                    self.walk(group.stream(), module);
                    after
                }
                (_, after) => after,
            };
            goes_on = matches!(token, TokenTree::Punct(colon) if colon.as_char() == ':');
        }
    }

    /// What comes after an item for tests: after its semicolon, or its block.
    fn pass_over<'t>(&mut self, item: &'t [TokenTree], module: &Module) -> &'t [TokenTree] {
        let is_end = |token: &TokenTree| is_punct(token, ';') || braces(token).is_some();
        let end = item.iter().position(is_end).map_or(item.len(), |end| end + 1);
        let (item, after) = item.split_at(end);
        if let [.., TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Punct(_)] = item
            && word == "mod"
        {
            self.for_tests.push(below(module, name));
        }
        after
    }

    fn path(&mut self, start: &Ident, mut after: &[TokenTree], module: &Module) {
        let mut from = if start == "crate" { Module::new() } else { module.clone() };
        if start == "super" {
            from.pop();
        }
        while let Some([TokenTree::Ident(word), further @ ..]) = behind_colons(after)
            && word == "super"
        {
            from.pop();
            after = further;
        }
        // `pub(crate)` alone is no path.
        if behind_colons(after).is_some() {
            self.branch(start.span().start().line, from, after);
        }
    }

    /// A path as far as it is read, and what comes after: a name, several in braces, or something else.
    fn branch(&mut self, line: usize, mut path: Module, mut after: &[TokenTree]) {
        while let Some([next, further @ ..]) = behind_colons(after) {
            if let Some(group) = braces(next) {
                return self.branches(line, &path, group);
            }
            let TokenTree::Ident(name) = next else { break };
            path.push(name.to_string());
            after = further;
        }
        self.paths.push((line, path));
    }

    fn branches(&mut self, line: usize, path: &Module, group: &Group) {
        let tokens: Vec<_> = group.stream().into_iter().collect();
        for branch in tokens.split(|token| is_punct(token, ',')) {
            if let [TokenTree::Ident(name), after @ ..] = branch {
                self.branch(line, below(path, name), after);
            }
        }
    }
}

/// `watch/source.rs` and `watch/source/mod.rs` are both the module `watch::source`; the crate's root has no name.
fn module(file: &Path) -> Module {
    let mut names: Module =
        file.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if matches!(names.as_slice(), [name] if name == "lib" || name == "main")
        || names.last().is_some_and(|name| name == "mod")
    {
        names.pop();
    }
    names
}

fn below(module: &Module, name: &Ident) -> Module {
    [module.as_slice(), &[name.to_string()]].concat()
}

/// `[cfg(test)]`, behind its `#`.
fn is_for_tests(attribute: &TokenTree) -> bool {
    matches!(attribute, TokenTree::Group(group) if group.stream().to_string().replace(' ', "") == "cfg(test)")
}

/// What comes after `::`, if that is next.
fn behind_colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [first, second, after @ ..] if is_punct(first, ':') && is_punct(second, ':') => Some(after),
        _ => None,
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn braces(token: &TokenTree) -> Option<&Group> {
    match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group),
        _ => None,
    }
}
