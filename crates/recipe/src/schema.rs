//! A key of recipes, and the table that a program makes of them. Whoever reads a key declares it: `temper recipe keys` prints the lines
//! that stand beside the code that reads them.

use temper_base::Problem;

use crate::check::Check;
use crate::recipe::Recipe;
use crate::value::Kind;

/// The keys of a section, without the section, beside a choice; `None` for what is no choice.
pub type Fields = fn(&str) -> Option<Vec<&'static str>>;

/// One key of a recipe.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its path, with `*` for a name that the user chooses: `data.train.*.path`.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its default as TOML; a key without one is unset unless the recipe sets it.
    pub default: Option<&'static str>,
    /// What it does, in one line.
    pub doc: &'static str,
    /// The unit of the number, if it has one.
    pub unit: &'static str,
    /// Whether changing it can change the numbers a run ends with; after such a change Temper does not check `expect`.
    pub bears: bool,
    /// Whether changing it can change the last bits of those numbers, as the order of a sum does.
    pub last_bits: bool,
    /// What its text is a name of, if what lies there decides the run and not what it is called.
    pub refers_to: Option<Refers>,
    /// The name of the task whose recipes have it; `None` for all.
    pub task: Option<&'static str>,
    /// The key that this one stands in for: of the two, the one given later counts.
    pub instead_of: Option<&'static str>,
    /// Keys that a choice of this one sets anew: what earlier layers gave for them is forgotten.
    pub resets: &'static [&'static str],
    /// Which keys its section has beside a choice of this one, as `lr.shape` decides.
    pub chooses: Option<Fields>,
    /// Its name in recipes and runs of earlier versions.
    pub formerly: Option<&'static str>,
    /// Whether a recipe has it from those that it extends.
    pub inherited: bool,
    /// Whether a branch decides it anew where a preset decided it in the base run.
    pub anew: bool,
    /// Whether every name that stands for its `*` needs it, and why: "the source has no path".
    pub needed: Option<&'static str>,
}

impl Key {
    /// A key of all tasks. The other functions of this kind say more of it.
    pub const fn new(path: &'static str, kind: Kind, doc: &'static str) -> Key {
        Key {
            path,
            kind,
            default: None,
            doc,
            unit: "",
            bears: true,
            last_bits: true,
            refers_to: None,
            task: None,
            instead_of: None,
            resets: &[],
            chooses: None,
            formerly: None,
            inherited: true,
            anew: false,
            needed: None,
        }
    }

    /// A key of this task alone.
    pub const fn of_task(self, name: &'static str) -> Self {
        Self { task: Some(name), ..self }
    }

    /// Its default, as TOML.
    pub const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// The unit of its number.
    pub const fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// It changes no number that a run ends with.
    pub const fn free(self) -> Self {
        Self { bears: false, last_bits: false, ..self }
    }

    /// It changes the last bits of the numbers that a run ends with and no more.
    pub const fn last_bits(self) -> Self {
        Self { bears: false, last_bits: true, ..self }
    }

    /// Its text is the name of something that decides the run.
    pub const fn refers_to(self, what: Refers) -> Self {
        Self { refers_to: Some(what), ..self }
    }

    /// Of this key and the other one, that given later counts.
    pub const fn instead_of(self, other: &'static str) -> Self {
        Self { instead_of: Some(other), ..self }
    }

    /// Whoever chooses it forgets what earlier layers gave for the others.
    pub const fn resets(self, others: &'static [&'static str]) -> Self {
        Self { resets: others, ..self }
    }

    /// Its choice decides which keys its section has.
    pub const fn chooses(self, fields: Fields) -> Self {
        Self { chooses: Some(fields), ..self }
    }

    /// Its earlier name.
    pub const fn formerly(self, name: &'static str) -> Self {
        Self { formerly: Some(name), ..self }
    }

    /// A recipe does not have it from those that it extends.
    pub const fn not_inherited(self) -> Self {
        Self { inherited: false, ..self }
    }

    /// A branch decides it anew where a preset decided it in the base run.
    pub const fn anew(self) -> Self {
        Self { anew: true, ..self }
    }

    /// Every name that stands for its `*` needs it; `why` is what is wrong without.
    pub const fn needed(self, why: &'static str) -> Self {
        Self { needed: Some(why), ..self }
    }

    /// Whether recipes of `task` have this key.
    pub fn belongs_to(&self, task: &Task) -> bool {
        self.task.is_none_or(|own| own == task.name)
    }

    /// The table a key is in: everything before the last dot.
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// What comes before the name that the user chooses: `data.train` of `data.train.*.path`.
    pub(crate) fn prefix(&self) -> Option<&'static str> {
        self.path.split_once(".*.").map(|(prefix, _)| prefix)
    }

    /// Whether a path, split at the dots, is this key.
    pub(crate) fn matches(&self, path: &[&str]) -> bool {
        let mut own = self.path.split('.');
        path.iter().all(|part| own.next().is_some_and(|own| own == "*" || own == *part)) && own.next().is_none()
    }
}

/// What the text of a key is a name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refers {
    /// A tokenizer.
    Tokenizer,
    /// A file or folder with data or weights.
    Content,
    /// Another run.
    Run,
}

/// What a recipe trains, and what that adds to the rules of recipes.
#[derive(Debug)]
pub struct Task {
    /// The name in recipes.
    pub name: &'static str,
    /// What its recipes are called in messages: "language models".
    pub words: &'static str,
    /// Its own defaults of keys that all tasks have: (path, TOML).
    pub defaults: &'static [(&'static str, &'static str)],
    /// Finds what is missing in a recipe of this task, and what does not go together.
    pub check: fn(&mut Check),
    /// What is wrong with a recipe of this task in which nothing else is.
    pub check_sound: fn(&Recipe) -> Vec<Problem>,
}

/// Tasks are the same by their names.
impl PartialEq for Task {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// The keys that recipes have, put together from those who read them.
#[derive(Debug)]
pub struct Schema {
    /// What recipes can train; without the key `task` it is the first.
    pub tasks: &'static [&'static Task],
    /// The sections in the order in which they are shown; every key is in one of them.
    pub sections: &'static [&'static str],
    /// The keys as they are declared; those of one section are shown in this order.
    pub keys: &'static [&'static [&'static [Key]]],
}

/// There is one schema in a program; it is the same as itself.
impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Schema {
    /// The keys in the order in which they are shown.
    pub fn keys(&'static self) -> impl Iterator<Item = &'static Key> {
        self.sections.iter().flat_map(|section| self.declared().filter(move |key| key.section() == *section))
    }

    /// The keys as they are declared.
    pub(crate) fn declared(&'static self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().copied().flatten().copied().flatten()
    }

    /// The key with this path, in which names that the user chose match `*`.
    pub fn find(&'static self, path: &str) -> Option<&'static Key> {
        let parts: Vec<&str> = self.current(path).split('.').collect();
        self.declared().find(|key| key.matches(&parts))
    }

    /// The key that a path means: recipes and runs of earlier versions have other names for some.
    pub fn current<'a>(&'static self, path: &'a str) -> &'a str {
        self.declared().find(|key| key.formerly == Some(path)).map_or(path, |key| key.path)
    }

    /// The default of a key in recipes of `task`.
    pub fn default_of(&self, key: &Key, task: &Task) -> Option<&'static str> {
        task.defaults.iter().find(|(path, _)| *path == key.path).map(|(_, default)| *default).or(key.default)
    }

    /// The task of this name.
    pub fn task(&self, name: &str) -> Option<&'static Task> {
        self.tasks.iter().copied().find(|task| task.name == name)
    }

    /// The key that is given either instead of the one with this path or replaced by it.
    pub(crate) fn alternative(&'static self, path: &str) -> Option<&'static str> {
        self.declared().find_map(|key| {
            let other = key.instead_of?;
            if path == key.path {
                Some(other)
            } else if path == other {
                Some(key.path)
            } else {
                None
            }
        })
    }

    /// Where a path stands among all: by its section, the names chosen in it, and the key.
    pub(crate) fn rank(&'static self, path: &str) -> (Option<usize>, String, Option<usize>) {
        let parts: Vec<&str> = path.split('.').collect();
        let index = self.declared().position(|key| key.matches(&parts));
        let section = self.declared().find(|key| key.matches(&parts)).map(Key::section);
        let first = section.and_then(|section| self.sections.iter().position(|known| *known == section));
        let own = path.rsplit_once('.').map_or("", |(section, _)| section);
        (first, own.to_owned(), index)
    }
}

/// The keys that recipes have of themselves, whatever they train.
pub const KEYS: &[Key] = &[
    Key::new("extends", Kind::Text, "name or path of the recipe that gives every value this one leaves out").free(),
    Key::new("about", Kind::Text, "a description of the recipe in one line").free(),
];
